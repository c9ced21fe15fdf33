"""`lightning-med triage`: the safety verdict on a message or on each line of a file, and how often it is right."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.data.sources.table_places import locate_table
from lightning_med.data.sources.table_streams import open_table
from lightning_med.safety import triage
from lightning_med.safety.evaluation.labelled_messages import EXAMPLE, get_label
from lightning_med.safety.evaluation.tables import format_json, format_tables
from lightning_med.safety.messages.advice import UNKNOWN_REGION, list_regions, resolve_file_region, resolve_region
from lightning_med.safety.messages.encoder.decision import get_costs
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import make_writable_folder, refuse_pointer, write_text

_LINES = 'It takes JSON Lines, one object with a `text` on each line: {"text": "My chest hurts."}'


def add_verdict(row: dict[str, Any], region: str | None) -> dict[str, Any]:
    """Returns a row with the verdict on its `text`.

    Other values are kept; a name that the verdict uses becomes `given_…`.
    """
    verdict = asdict(triage(row["text"], region))
    kept = {f"given_{name}" if name in verdict else name: value for name, value in row.items()}
    return {**kept, **verdict}


def read_rows(path: Path, option: str = "--input") -> dict[int, dict[str, Any]]:
    """Reads the rows of a JSON Lines file.

    Args:
        path: The file.
        option: Which names it, for the message.

    Returns:
        By number of the line, from 1; blank lines are left out.

    Raises:
        InputError: The file cannot be read, is a Git LFS pointer, or a line is not an object with a `text`.
    """
    try:
        refuse_pointer(locate_table(path).file)
        with io.TextIOWrapper(open_table(path), "utf-8-sig") as file:
            lines = file.read().split("\n")  # not splitlines: a JSON string may contain \u2028
    except (OSError, UnicodeDecodeError) as error:
        what = f"{option} {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8'}."
        raise InputError(what, "Name a JSON Lines file in UTF-8.") from error
    rows = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not JSON.", _LINES) from error
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise InputError(f"{path}, line {number}: it has no text.", _LINES)
        rows[number] = row
    return rows


def check_safety_settings(region: str | None) -> None:
    """Checks the argument of `--region` and the costs of the environment, before any work.

    Raises:
        InputError: The region is not known, or a cost is none.
    """
    get_costs()
    if region and resolve_region(region) == UNKNOWN_REGION:
        raise InputError(f"--region {region} is not known.", f"Known: {', '.join(list_regions())}.")


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    given = make_parser().parse_args(argv[1:])
    _check_arguments(given)
    check_safety_settings(given.region)
    if given.evaluate:
        _evaluate_file(given)
    elif given.input:
        _triage_file(given)
    else:
        text = sys.stdin.buffer.read().decode("utf-8", "replace") if given.text == "-" else given.text
        print(json.dumps(asdict(triage(text, given.region))))
    return 0


def make_parser() -> Parser:
    """Returns the parser of `triage`."""
    parser = Parser("lightning-med triage", "The safety verdict on a message, as JSON. Not a medical device.")
    parser.add_argument("--input", type=Path, metavar="FILE", help="JSON Lines file with a text on each line")
    parser.add_argument(
        "--evaluate",
        type=Path,
        metavar="FILE",
        help="JSON Lines file with a text and a label (emergency, crisis, harmful, urgent or ordinary) on each line:"
        " prints how often triage is right, with exact 95%% intervals, and what it took for what",
    )
    parser.add_argument("--json", action="store_true", help="print the figures of --evaluate as JSON")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where the lines of --input or --evaluate are written with their verdicts",
    )
    parser.add_argument(
        "--region",
        help="country whose emergency numbers the advice names, for instance GB (default: $LIGHTNING_MED_REGION, else"
        " that of the locale for a TEXT, and several countries' numbers for a file)",
    )
    parser.add_argument("text", nargs="?", metavar="TEXT", help="a message; - reads it from standard input")
    return parser


def _check_arguments(given: argparse.Namespace) -> None:
    if sum(value is not None for value in (given.text, given.input, given.evaluate)) != 1:
        raise InputError(
            "triage takes a TEXT, --input FILE or --evaluate FILE.", 'lightning-med triage "My chest hurts."'
        )
    if given.output and given.text is not None:
        raise InputError("--output needs --input FILE or --evaluate FILE.")
    if given.json and not given.evaluate:
        raise InputError("--json needs --evaluate FILE.", "Leave it out: verdicts are JSON anyway.")
    if given.evaluate and given.region and not given.output:
        raise InputError("--region with --evaluate needs --output FILE.", "Figures do not depend on the region.")


def _triage_file(given: argparse.Namespace) -> None:
    lines = _format_rows(_judge_rows(read_rows(given.input).values(), given.region))
    if given.output is None:
        sys.stdout.write(lines)
        return
    _write(given.output, lines)
    print(given.output)


def _evaluate_file(given: argparse.Namespace) -> None:
    rows = read_rows(given.evaluate, "--evaluate")
    if not rows:
        raise InputError(f"--evaluate {given.evaluate}: it is empty.", f"Write one message a line: {EXAMPLE}")
    labels = [get_label(row, f"{given.evaluate}, line {number}") for number, row in rows.items()]
    if given.output:
        _check_output(given.output, given.evaluate)
    judged = _judge_rows(rows.values(), given.region)
    if given.output:
        _write(given.output, _format_rows(judged))
    pairs = [(label, row["level"]) for label, row in zip(labels, judged, strict=True)]
    print(format_json(pairs) if given.json else format_tables(pairs))


def _check_output(output: Path, labels: Path) -> None:
    if output.is_dir() or (output.exists() and output.samefile(labels)):
        kind = "a folder" if output.is_dir() else "the file of the labels"
        raise InputError(f"--output {output} is {kind}.", "Name another file.")
    make_writable_folder(output.parent, "--output FILE")


def _judge_rows(rows: Collection[dict[str, Any]], region: str | None) -> list[dict[str, Any]]:
    """Returns rows of a file with their verdicts."""
    region = resolve_file_region(region)
    judged = []
    with show_progress("Triage") as progress:
        for row in rows:
            judged.append(add_verdict(row, region))
            progress("messages", len(judged), len(rows))
    return judged


def _format_rows(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _write(output: Path, text: str) -> None:
    try:
        write_text(output, text)
    except OSError as error:
        raise InputError(f"--output {output}: {error.strerror}.", "Name another file.") from error
