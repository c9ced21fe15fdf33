"""Writes a synthetic corpus of consultations of any size, and a truth file that says what is planted in it.

The text is made of word lists and templates: it means nothing medically, but has the lengths of real consultations.
Planted are the defects, repeated questions and private data that real tables have; the truth file records their
positions, so that the effect of cleaning can be measured (scripts/measure_corpus.py). Equal arguments give equal
bytes, and a longer corpus starts with the shorter one.

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

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.tokenization.tokenizer import load_tokenizer
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError, check_range
from lightning_med.utils.files import make_writable_folder, write_atomically

TARGETS = {50: 185, 90: 299, 99: 478}  # percentiles of question + answer in GPT-2's tokens
MAX_CLEAN_ROWS = 10_000  # clean rows whose whole cells are in the truth file
SAMPLE = 20_000  # rows whose tokens are counted, at most
Progress = Callable[[str, int, int], None]


def parse_options(argv: list[str]) -> argparse.Namespace:
    """Parses and checks the options.

    Raises:
        InputError: An option is wrong.
    """
    parser = Parser("make_corpus", "Write a synthetic corpus of consultations. The text means nothing medically.")
    parser.add_argument("--rows", type=int, required=True, help="number of consultations")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE.csv", help="table; columns input and output"
    )
    parser.add_argument("--truth", type=Path, required=True, metavar="FILE.jsonl", help="what is planted, and where")
    parser.add_argument("--tokenizer", required=True, metavar="DIR", help="a folder with GPT-2's, to measure lengths")
    parser.add_argument("--seed", type=int, default=42, help="determines every row (default: 42)")
    parser.add_argument("--clean", action="store_true", help="plant nothing")
    options = parser.parse_args(argv)
    check_range("--rows", options.rows, 1)
    check_range("--seed", options.seed, 0)
    if not Path(options.tokenizer).is_dir():
        raise InputError(f"--tokenizer {options.tokenizer} is not a folder.", "Name one with GPT-2's tokenizer files.")
    for name in ("output", "truth"):
        path: Path = getattr(options, name)
        if path.is_dir():
            raise InputError(f"--{name} {path} is a folder.", "Name a file in it.")
        make_writable_folder(path.parent, f"--{name} FILE")
    if options.output.resolve() == options.truth.resolve():
        raise InputError("--output and --truth name the same file.", "Name two different ones.")
    return options


def write_rows(options: argparse.Namespace, output: Path, truth: Path, progress: Progress) -> Iterator[Row]:
    """Writes all rows to both files and yields those of the sample."""
    corpus, clean_rows, step = Corpus(options.seed, options.clean), 0, -(-options.rows // SAMPLE)
    with output.open("w", encoding="utf-8", newline="") as table, truth.open("w", encoding="utf-8") as lines:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("input", "output"))
        for number in range(options.rows):
            row = corpus.make_row(number)
            writer.writerow((row.question, row.answer))
            planted = row.planted
            if clean_rows < MAX_CLEAN_ROWS and corpus.choose_kind(number) == "clean":
                clean_rows, planted = clean_rows + 1, list_whole_cells(row)
            for item in planted:
                lines.write(json.dumps({"row": number} | item, ensure_ascii=False) + "\n")
            if number % step == 0:
                yield row
            if number % 500 == 0:
                progress("rows", number, options.rows)


def list_whole_cells(row: Row) -> list[dict[str, object]]:
    """Returns the lines of the truth file for a clean row: both cells in full."""
    cells = (("input", row.question), ("output", row.answer))
    return [{"column": name, "kind": "clean", "start": 0, "end": len(cell), "text": cell} for name, cell in cells]


def count_tokens(rows: Iterator[Row], tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """Returns the tokens of question and answer together, `[rows]`."""
    counts: list[int] = []
    batch: list[str] = []

    def count_batch() -> None:
        ids = tokenizer.backend_tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        counts.extend(len(question) + len(answer) for question, answer in zip(ids[::2], ids[1::2], strict=True))
        batch.clear()

    for row in rows:
        batch += [row.question, row.answer]
        if len(batch) >= 1000:
            count_batch()
    count_batch()
    return np.array(counts)


def make_corpus(argv: list[str]) -> None:
    """Writes both files atomically and prints the measured lengths."""
    options = parse_options(argv)
    tokenizer = load_tokenizer(options.tokenizer)
    with (
        write_atomically(options.output) as output,
        write_atomically(options.truth) as truth,
        show_progress("Synthetic corpus") as progress,
    ):
        counts = count_tokens(write_rows(options, output, truth, progress), tokenizer)
    say(f"{options.rows:,} synthetic consultations in {options.output}; the text means nothing medically.")
    say(f"What is planted, and where: {options.truth}")
    say(f"Tokens of question and answer, measured on {len(counts):,} rows:")
    for percentile, target in TARGETS.items():
        say(f"  p{percentile}: {np.percentile(counts, percentile):.0f} (target {target})")


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 2 for wrong input."""
    try:
        make_corpus(argv)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
