"""Checks each family of base models against transformers, and prints or writes the tables of docs/bases.md.

    python scripts/check_bases.py [--only NAME] [--write docs/bases.md]

For each family a tiny random base is made. Compared with transformers' own padded forward pass are: loss and gradients
in float32 (relative difference at most 1e-5) and in bfloat16 (ours differs from float32 by at most 1.5 times as much as
transformers does), with rows longer than any window; batched generation with a cache against single rows without one;
the logits of the exported folder. A base that cannot be exact must be refused. For each kind of tokenizer and chat
template the ids of training, the learned tokens and the prompts of generation are compared with those that the exported
chat template gives. The exit status is 1 if a row is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from bases.checks import BOUNDS, Outcome, check_family
from bases.families import FAMILIES, Family
from bases.id_checks import IdOutcome, check_tokenizer
from bases.tokenizers import BASES
from transformers.utils import logging

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text

MARKS = {  # around the tables in a Markdown file
    name: (f"<!-- {name}: begin -->", f"<!-- {name}: end -->") for name in ("families", "tokenizers")
}
_FAMILY_HEADER = ("base", "batches", *BOUNDS, "generation", "why")
_TOKENIZER_HEADER = ("tokenizer and template", "format", "BOS", "conversations", "result")


def format_families(outcomes: list[Outcome]) -> str:
    """Returns the outcomes of the families as a table in Markdown."""
    lines: list[tuple[str, ...]] = [_FAMILY_HEADER, tuple("---" for _ in _FAMILY_HEADER)]
    for outcome in outcomes:
        figures = [f"{outcome.differences[name]:.1g}" if outcome.differences else "" for name in BOUNDS]
        generation = "" if not outcome.differences else "equal" if outcome.generates_alike else "differs"
        note = outcome.message + (f" WRONG: {', '.join(outcome.faults)}" if outcome.faults else "")
        lines.append((outcome.family.name, outcome.execution, *figures, generation, note))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def format_tokenizers(outcomes: list[IdOutcome]) -> str:
    """Returns the outcomes of the tokenizers as a table in Markdown."""
    lines: list[tuple[str, ...]] = [_TOKENIZER_HEADER, tuple("---" for _ in _TOKENIZER_HEADER)]
    for outcome in outcomes:
        result = f"WRONG: {', '.join(outcome.faults)}" if outcome.faults else "equal"
        lines.append((outcome.name, outcome.prompt_format, "yes" if outcome.bos else "", str(outcome.rows), result))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replace_tables(path: Path, tables: dict[str, str]) -> None:
    """Replaces the tables between their marks in a Markdown file."""
    text = path.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = MARKS[name]
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    write_text(path, text)


def parse_options(argv: list[str]) -> argparse.Namespace:
    """Parses and checks the options."""
    parser = Parser("check_bases", "Check each family of base models against transformers.")
    parser.add_argument("--only", metavar="NAME", help="families and tokenizers whose name contains this")
    parser.add_argument("--write", type=Path, metavar="FILE", help="Markdown file whose tables are replaced")
    options = parser.parse_args(argv)
    if options.write and options.only:
        raise InputError("--write needs the whole table.", "Leave --only out.")
    if options.write:
        if not options.write.is_file():
            raise InputError(f"{options.write} is not a file.", "Name docs/bases.md, or a copy of it.")
        text = options.write.read_text(encoding="utf-8")
        for begin, end in MARKS.values():
            if begin not in text or end not in text:
                raise InputError(f"{options.write} has no place for a table.", f"Mark it: {begin} and {end}")
    return options


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 1 if a base is wrong, 2 for wrong input."""
    torch.set_num_threads(1)  # the networks are too small for a second thread
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        options = parse_options(argv)
        only = (options.only or "").lower()
        families = [family for family in FAMILIES if only in family.name.lower()]
        names = [name for name in BASES if only in name]
        if not families and not names:
            raise InputError(f"--only {options.only}: no family and no tokenizer has that in its name.", "Try llama.")
        outcomes: list[Outcome] = []
        id_outcomes: list[IdOutcome] = []
        with show_progress("Checking bases") as progress:
            cases: list[Family | str] = [*families, *names]
            for number, case in enumerate(cases):
                progress(case if isinstance(case, str) else case.name, number, len(cases))
                with tempfile.TemporaryDirectory() as folder:
                    if isinstance(case, str):
                        id_outcomes.append(check_tokenizer(case, Path(folder)))
                    else:
                        outcomes.append(check_family(case, Path(folder)))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    tables = {"families": format_families(outcomes), "tokenizers": format_tokenizers(id_outcomes)}
    print(*tables.values(), sep="\n\n")
    if options.write:
        replace_tables(options.write, tables)
    wrong = [outcome.family.name for outcome in outcomes if outcome.faults]
    wrong += [outcome.name for outcome in id_outcomes if outcome.faults]
    count = f"{len(outcomes)} bases, {len(id_outcomes)} tokenizers, {len(wrong)} wrong"
    print(f"{count}: {', '.join(wrong)}" if wrong else count)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
