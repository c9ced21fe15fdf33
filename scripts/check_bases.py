"""Checks each family of base models against transformers, and prints or writes the table of docs/bases.md.

    python scripts/check_bases.py [--only NAME] [--write docs/bases.md]

For each family a tiny random base is made. Compared with transformers' own padded forward pass are: loss and gradients
in float32 (relative difference at most 1e-5) and in bfloat16 (ours differs from float32 by at most 1.5 times as much as
transformers does), with rows longer than any window; batched generation with a cache against single rows without one;
the logits of the exported folder. A base that cannot be exact must be refused. The exit status is 1 if a row is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from bases.checks import BOUNDS, Outcome, check_family
from bases.families import FAMILIES
from transformers.utils import logging

from lightning_med.cli.arguments import Parser
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
_HEADER = ("base", "batches", *BOUNDS, "generation", "why")


def format_table(outcomes: list[Outcome]) -> str:
    """Returns the outcomes as a table in Markdown."""
    lines = [_HEADER, tuple("---" for _ in _HEADER)]
    for outcome in outcomes:
        figures = [f"{outcome.differences[name]:.1g}" if outcome.differences else "" for name in BOUNDS]
        generation = "equal" if outcome.differences else ""
        note = outcome.message + (f" WRONG: {', '.join(outcome.faults)}" if outcome.faults else "")
        lines.append((outcome.family.name, outcome.execution, *figures, generation, note))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parse_options(argv: list[str]) -> argparse.Namespace:
    """Parses and checks the options."""
    parser = Parser("check_bases", "Check each family of base models against transformers.")
    parser.add_argument("--only", metavar="NAME", help="families whose name contains this")
    parser.add_argument("--write", type=Path, metavar="FILE", help="Markdown file whose table is replaced")
    options = parser.parse_args(argv)
    if options.write and BEGIN not in options.write.read_text(encoding="utf-8"):
        raise InputError(f"{options.write} has no place for the table.", f"Mark it: {BEGIN} and {END}")
    return options


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 1 if a base is wrong, 2 for wrong input."""
    torch.set_num_threads(1)  # the networks are too small for a second thread
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        options = parse_options(argv)
        families = [family for family in FAMILIES if (options.only or "").lower() in family.name.lower()]
        outcomes = []
        with show_progress("Checking bases") as progress:
            for number, family in enumerate(families):
                progress(family.name, number, len(families))
                with tempfile.TemporaryDirectory() as folder:
                    outcomes.append(check_family(family, Path(folder)))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    table = format_table(outcomes)
    print(table)
    if options.write:
        before, _, rest = options.write.read_text(encoding="utf-8").partition(BEGIN)
        write_text(options.write, f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")
    wrong = [outcome.family.name for outcome in outcomes if outcome.faults]
    print(f"{len(outcomes)} bases, {len(wrong)} wrong{': ' if wrong else ''}{', '.join(wrong)}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
