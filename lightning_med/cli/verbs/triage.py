"""`lightning-med triage`: the safety verdict on a message, or on each line of a file."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning_med.cli.arguments import Parser
from lightning_med.safety import triage
from lightning_med.safety.messages import advice
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text


def judge_lines(row: dict[str, Any], region: str | None) -> dict[str, Any]:
    """A row with the verdict on its `text`; what else it held is kept, under `given_…` where it has a name of ours."""
    found = asdict(triage(row["text"], region))
    kept = {f"given_{name}" if name in found else name: value for name, value in row.items()}
    return {**kept, **found}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file.

    Raises:
        InputError: It is not there, or a line is no object with a `text`.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # not splitlines: JSON may hold other line ends
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--input {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8'}.") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: no JSON.", "One object a line, each with a text.") from error
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise InputError(f"{path}, line {number}: it has no text.", 'Write {"text": "My chest hurts."}')
        rows.append(row)
    return rows


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    parser = Parser("lightning-med triage", "The safety verdict on a message, as JSON. Not a medical device.")
    parser.add_argument("--input", type=Path, metavar="FILE", help="JSON Lines; the text of each line is judged")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where its lines go with their verdicts (default: printed)"
    )
    parser.add_argument(
        "--region",
        help="whose emergency numbers to name, for instance GB (default: the locale's for a TEXT, several regions' for"
        " --input, so that its output is the same on every machine)",
    )
    parser.add_argument("text", nargs="?", metavar="TEXT", help="a message; - reads it from standard input")
    given = parser.parse_args(argv[1:])
    if (given.input is None) == (given.text is None):
        raise InputError("triage takes a TEXT or --input FILE.", 'lightning-med triage "My chest hurts."')
    if given.output and not given.input:
        raise InputError("--output goes with --input FILE.")
    if given.region and advice.resolve_region(given.region) == advice.UNKNOWN_REGION:
        raise InputError(f"--region {given.region} is not known.", f"Known: {', '.join(advice.list_regions())}.")
    if given.input is None:
        text = sys.stdin.buffer.read().decode("utf-8", "replace") if given.text == "-" else given.text
        print(json.dumps(asdict(triage(text, given.region))))
        return 0
    region = given.region or advice.UNKNOWN_REGION
    lines = [json.dumps(judge_lines(row, region)) + "\n" for row in read_lines(given.input)]
    if given.output:
        try:
            write_text(given.output, "".join(lines))
        except OSError as error:
            raise InputError(f"--output {given.output}: {error.strerror}.") from error
        print(given.output)
    else:
        sys.stdout.writelines(lines)
    return 0
