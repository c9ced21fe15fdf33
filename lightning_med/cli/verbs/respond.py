"""`lightning-med respond`: one answer from an exported model."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

from lightning_med.cli.arguments import Parser
from lightning_med.safety.messages import advice
from lightning_med.serving.responder import MODEL_VARIABLE, Responder, answer_question, find_newest_export
from lightning_med.utils.errors import InputError


def main(argv: list[str]) -> int:
    """`lightning-med respond`; returns the exit status."""
    parser = Parser(prog="lightning-med respond", description="Answer one question with an exported model.")
    parser.add_argument(
        "--model", help=f"an export's folder; else ${MODEL_VARIABLE}, else the newest under lightning_logs"
    )
    parser.add_argument("--json", action="store_true", help="print all that is known of the answer as JSON")
    parser.add_argument("--region", help="whose emergency numbers to name, for instance GB (default: the locale's)")
    parser.add_argument("--safety", choices=("on", "off"), default="on", help="off: check neither question nor answer")
    parser.add_argument("question", metavar="QUESTION", help="the patient's words; - reads them from standard input")
    given = parser.parse_args(argv[1:])
    content = sys.stdin.buffer.read() if given.question == "-" else os.fsencode(given.question)
    question = content.decode("utf-8", "replace")
    if given.region and advice.resolve_region(given.region) == advice.UNKNOWN_REGION:
        raise InputError(f"--region {given.region} is not known.", f"Known: {', '.join(advice.list_regions())}.")
    safety = given.safety == "on"

    def load() -> Responder:
        folder = given.model or os.environ.get(MODEL_VARIABLE) or find_newest_export()
        return Responder.from_pretrained(folder, given.region, safety)

    answer = answer_question(question, load, given.region, safety)
    print(json.dumps(asdict(answer), ensure_ascii=False) if given.json else answer)
    return 0
