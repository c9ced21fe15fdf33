"""`lightning-med triage`: the safety verdict on a message, or on each line of a file."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.safety import triage
from lightning_med.safety.messages.advice import UNKNOWN_REGION, list_regions, resolve_file_region, resolve_region
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import refuse_pointer, write_text


def add_verdict(row: dict[str, Any], region: str | None) -> dict[str, Any]:
    """Returns a row with the verdict on its `text`.

    Other values are kept; a name that the verdict uses becomes `given_…`.
    """
    verdict = asdict(triage(row["text"], region))
    kept = {f"given_{name}" if name in verdict else name: value for name, value in row.items()}
    return {**kept, **verdict}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads the rows of a JSON Lines file.

    Raises:
        InputError: The file cannot be read, is a Git LFS pointer, or a line is not an object with a `text`.
    """
    try:
        refuse_pointer(path)
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # not splitlines: a JSON string may contain \u2028
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--input {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8'}.") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not JSON.", "One object with a text on each line.") from error
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise InputError(f"{path}, line {number}: it has no text.", 'Write {"text": "My chest hurts."}')
        rows.append(row)
    return rows


def check_region(region: str | None) -> None:
    """Checks the argument of `--region`.

    Raises:
        InputError: The region is not known.
    """
    if region and resolve_region(region) == UNKNOWN_REGION:
        raise InputError(f"--region {region} is not known.", f"Known: {', '.join(list_regions())}.")


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = Parser("lightning-med triage", "The safety verdict on a message, as JSON. Not a medical device.")
    parser.add_argument("--input", type=Path, metavar="FILE", help="JSON Lines file with a text on each line")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where the lines of --input are written with their verdicts"
    )
    parser.add_argument(
        "--region",
        help="country whose emergency numbers the advice names, for instance GB (default: $LIGHTNING_MED_REGION, else"
        " that of the locale for a TEXT, and several countries' numbers for --input)",
    )
    parser.add_argument("text", nargs="?", metavar="TEXT", help="a message; - reads it from standard input")
    given = parser.parse_args(argv[1:])
    if (given.input is None) == (given.text is None):
        raise InputError("triage takes a TEXT or --input FILE.", 'lightning-med triage "My chest hurts."')
    if given.output and not given.input:
        raise InputError("--output needs --input FILE.")
    check_region(given.region)
    if given.input is None:
        text = sys.stdin.buffer.read().decode("utf-8", "replace") if given.text == "-" else given.text
        print(json.dumps(asdict(triage(text, given.region))))
    else:
        _triage_file(given.input, given.output, resolve_file_region(given.region))
    return 0


def _triage_file(path: Path, output: Path | None, region: str) -> None:
    lines = [json.dumps(add_verdict(row, region)) + "\n" for row in read_rows(path)]
    if output is None:
        sys.stdout.writelines(lines)
        return
    try:
        write_text(output, "".join(lines))
    except OSError as error:
        raise InputError(f"--output {output}: {error.strerror}.") from error
    print(output)
