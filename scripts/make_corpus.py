"""Writes a synthetic corpus of consultations of any size, and what is planted in it.

The text is synthetic: sentences of word lists and templates that mean nothing medically, with the lengths of real
consultations. Planted are the dirt, the repeated questions and the private data that real tables have; a second file
says where, so that what cleaning does to them can be measured (scripts/measure_corpus.py). Equal arguments give equal
bytes, and a longer corpus begins with the shorter one.

python scripts/make_corpus.py --rows 112165 --output corpus.csv --truth truth.jsonl --tokenizer GPT2_FOLDER
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from synthetic.corpus import Corpus, Row
from transformers import PreTrainedTokenizerFast

from lightning_med.cli.arguments import Parser
from lightning_med.tokenization.tokenizer import load_tokenizer
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError, check_range
from lightning_med.utils.files import make_writable_folder, write_atomically

AIMS = {50: 185, 90: 299, 99: 478}  # percentiles of question + answer in GPT-2's tokens
CLEAN_TOLD = 10_000  # clean rows that the truth file tells in full
SAMPLE = 20_000  # rows whose tokens are counted
Progress = Callable[[str, int, int], None]


def arguments(argv: list[str]) -> argparse.Namespace:
    """The options, checked.

    Raises:
        InputError: One is wrong.
    """
    parser = Parser("make_corpus", "Write a synthetic corpus of consultations. The text means nothing medically.")
    parser.add_argument("--rows", type=int, required=True, help="how many consultations")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.csv", help="columns input and output")
    parser.add_argument("--truth", type=Path, required=True, metavar="FILE.jsonl", help="what is planted, and where")
    parser.add_argument("--tokenizer", required=True, metavar="DIR", help="GPT-2's, to measure lengths with")
    parser.add_argument("--seed", type=int, default=42, help="fixes every row (default: 42)")
    parser.add_argument("--clean", action="store_true", help="plant nothing")
    given = parser.parse_args(argv)
    check_range("--rows", given.rows, 1)
    check_range("--seed", given.seed, 0)
    if not Path(given.tokenizer).is_dir():
        raise InputError(f"--tokenizer {given.tokenizer} is no folder.", "Name one with GPT-2's tokenizer files.")
    for option in ("output", "truth"):
        path: Path = getattr(given, option)
        if path.is_dir():
            raise InputError(f"--{option} {path} is a folder.", "Name a file in it.")
        make_writable_folder(path.parent, f"--{option} FILE")
    if given.output.resolve() == given.truth.resolve():
        raise InputError("--output and --truth name the same file.", "Name two.")
    return given


def write(given: argparse.Namespace, output: Path, truth: Path, progress: Progress) -> Iterator[Row]:
    """Writes row after row, and yields those of the sample."""
    corpus, told, step = Corpus(given.seed, given.clean), 0, -(-given.rows // SAMPLE)
    with output.open("w", encoding="utf-8", newline="") as table, truth.open("w", encoding="utf-8") as lines:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("input", "output"))
        for number in range(given.rows):
            row = corpus.row(number)
            writer.writerow((row.question, row.answer))
            planted = row.planted
            if told < CLEAN_TOLD and corpus.kind(number) == "clean":
                told, planted = told + 1, whole_cells(row)
            for thing in planted:
                lines.write(json.dumps({"row": number} | thing, ensure_ascii=False) + "\n")
            if number % step == 0:
                yield row
            if number % 500 == 0:
                progress("rows", number, given.rows)


def whole_cells(row: Row) -> list[dict[str, object]]:
    """The lines of the truth file for a clean row."""
    cells = (("input", row.question), ("output", row.answer))
    return [{"column": name, "kind": "clean", "start": 0, "end": len(cell), "text": cell} for name, cell in cells]


def lengths(rows: Iterator[Row], tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """The tokens of each row's question and answer together."""
    counts: list[int] = []
    batch: list[str] = []

    def count() -> None:
        ids = tokenizer.backend_tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        counts.extend(len(question) + len(answer) for question, answer in zip(ids[::2], ids[1::2], strict=True))
        batch.clear()

    for row in rows:
        batch += [row.question, row.answer]
        if len(batch) >= 1000:
            count()
    count()
    return np.array(counts)


def make(argv: list[str]) -> None:
    """Writes both files, whole or not at all, and prints what was measured."""
    given = arguments(argv)
    tokenizer = load_tokenizer(given.tokenizer)
    with (
        write_atomically(given.output) as output,
        write_atomically(given.truth) as truth,
        show_progress("Synthetic corpus") as progress,
    ):
        counts = lengths(write(given, output, truth, progress), tokenizer)
    say(f"{given.rows:,} synthetic consultations in {given.output}; the text means nothing medically.")
    say(f"What is planted, and where: {given.truth}")
    say(f"Tokens of question and answer, measured on {len(counts):,} rows:")
    for percentile, aim in AIMS.items():
        say(f"  p{percentile}: {np.percentile(counts, percentile):.0f} (aim {aim})")


def main(argv: list[str]) -> int:
    """Returns the exit status: 2 for wrong input."""
    try:
        make(argv)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
