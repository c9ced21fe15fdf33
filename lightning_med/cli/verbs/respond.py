"""`lightning-med respond`: one answer from an exported model."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.cli.verbs.triage import check_region
from lightning_med.serving.responder import MODEL_VARIABLE, Responder, answer_question, find_newest_export


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = Parser("lightning-med respond", "Answer one question with an exported model.")
    parser.add_argument(
        "--model",
        help=f"folder of an export (default: ${MODEL_VARIABLE}, else the newest export under lightning_logs)",
    )
    parser.add_argument("--json", action="store_true", help="print the answer with its verdict and checks as JSON")
    parser.add_argument(
        "--region",
        help="country whose emergency numbers the advice names, for instance GB (default: $LIGHTNING_MED_REGION, else"
        " that of the locale)",
    )
    parser.add_argument("--safety", choices=("on", "off"), default="on", help="off: check neither question nor answer")
    parser.add_argument("question", metavar="QUESTION", help="the patient's words; - reads them from standard input")
    given = parser.parse_args(argv[1:])
    check_region(given.region)
    content = sys.stdin.buffer.read() if given.question == "-" else os.fsencode(given.question)
    safety = given.safety == "on"

    def load() -> Responder:
        folder = given.model or os.environ.get(MODEL_VARIABLE) or find_newest_export()
        return Responder.from_pretrained(folder, given.region, safety)

    answer = answer_question(content.decode("utf-8", "replace"), load, given.region, safety)
    is_utf8 = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    print(json.dumps(asdict(answer), ensure_ascii=not is_utf8) if given.json else answer)
    return 0
