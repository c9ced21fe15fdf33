"""Measures a prepared synthetic corpus against what was planted in it.

Reports how much private data was removed, whether clean rows were changed, and whether similar questions share a split
and a group. Independently of the truth file, it searches exactly for similar questions in different splits. The exit
status is 1 if there are any.

python scripts/measure_corpus.py --truth truth.jsonl --prepared FOLDER --json measured.json
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from synthetic.dirt import MAKERS
from synthetic.search import SIMILAR, find_similar_across

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import make_writable_folder, write_text

COLUMNS = {"input": "question", "output": "answer"}
DIRT = tuple(MAKERS)
PAIRS = ("duplicate", "same_question", "near_duplicate", "below")
_EXAMPLES = 5
_UNITS = r"mg/kg|mg/dl|g/dl|gm%|ng/ml|pg/ml|mm ?hg|m?cg|µg|mg|kg|ml|mm/hr|mm|cm|lbs|IU|U/L|bpm|mEq/L|/cmm|%|°? ?[CF]\b"
_NUMBER = re.compile(rf"[<>] ?(?=\d)|\d+(?:[.,:/-]\d+)*(?: ?(?:{_UNITS}))?", re.IGNORECASE)

Line = dict[str, Any]


def read_prepared(folder: Path) -> pd.DataFrame:
    """Reads the rows of all splits, indexed by their row in the table, with the index of their split as `side`.

    Raises:
        InputError: The file of a split is missing or lacks a column, or a row occurs twice.
    """
    frames = []
    columns = ["row", "group", "question", "answer"]
    for side, name in enumerate(SPLITS):
        path = folder / f"{name}.parquet"
        try:
            frames.append(pd.read_parquet(path, columns=columns).assign(side=side))
        except FileNotFoundError as error:
            raise InputError(
                f"{path} does not exist.", "--prepared takes a folder with one Parquet file per split."
            ) from error
        except (ValueError, KeyError, OSError) as error:
            raise InputError(f"{path} is not a Parquet file with the columns {', '.join(columns)}.") from error
    frame = pd.concat(frames, ignore_index=True)
    if frame["row"].duplicated().any():
        raise InputError(f"{folder}: a row occurs more than once.", "Prepare one table with one exchange per row.")
    return frame.set_index("row")


def read_truth(path: Path) -> Iterator[Line]:
    """Reads the lines of a truth file.

    Raises:
        InputError: The file cannot be read, or is not a truth file.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                line = json.loads(text)
                if not {"row", "column", "kind", "text"} <= line.keys():
                    raise InputError(
                        f"{path}, line {number}: not a line of a truth file.",
                        "Give the file that make_corpus.py wrote.",
                    )
                yield line
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}.", "--truth takes the file that make_corpus.py wrote."
        ) from error
    except ValueError as error:
        raise InputError(f"{path} cannot be read as a truth file: {error}.") from error


def is_left(kind: str, text: str, cell: str) -> bool:
    """Whether a planted item is still in a cell. A planted name occurs once in its cell, so any match is that name."""
    if kind.startswith("name"):
        return re.search(rf"(?<!\w){re.escape(text)}(?!\w)", cell, re.IGNORECASE) is not None
    if kind in ("missing", "blank", "short"):
        return cell == text
    if kind == "outer_space":
        return cell != cell.strip()
    return cell.rstrip().endswith(text) if kind == "cut" else text in cell


def is_partly_left(kind: str, text: str, cell: str) -> bool:
    """Whether a word of a planted name is still in a cell."""
    return kind.startswith("name") and any(is_left(kind, word, cell) for word in text.split())


class PlantedItems:
    """Counts what became of the planted items.

    Args:
        prepared: As of `read_prepared`.
    """

    def __init__(self, prepared: pd.DataFrame) -> None:
        self._cells = {name: dict(zip(prepared.index, prepared[COLUMNS[name]], strict=True)) for name in COLUMNS}
        self._sides = dict(zip(prepared.index, prepared["side"], strict=True))
        self._groups = dict(zip(prepared.index, prepared["group"], strict=True))
        self._spans: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._pairs: dict[str, Counter[str]] = defaultdict(Counter)
        self._clean: Counter[str] = Counter(lines=0, measured=0, altered=0, numbers_altered=0)
        self._left: dict[str, list[Line]] = defaultdict(list)

    def add(self, line: Line) -> None:
        """Adds a line of the truth file."""
        if line["kind"] == "clean":
            self._add_clean_cell(line)
        elif line["kind"] in PAIRS:
            self._add_pair(line)
        else:
            self._add_span(line)

    def summarize(self) -> Line:
        """Returns the counts, for the JSON file."""
        entries: list[Line] = [
            {"kind": kind, "column": column, **count} for (kind, column), count in sorted(self._spans.items())
        ]
        for entry in entries:
            entry["recall"] = entry["found"] / entry["measured"] if entry["measured"] else None
        return {
            "private": [entry for entry in entries if entry["kind"] not in DIRT],
            "dirt": [entry for entry in entries if entry["kind"] in DIRT],
            "clean": dict(self._clean),
            "pairs": {kind: dict(count) for kind, count in sorted(self._pairs.items())},
            "left": dict(self._left),
        }

    def _add_clean_cell(self, line: Line) -> None:
        self._clean["lines"] += 1
        if line["row"] in self._sides:
            before, after = line["text"], self._cells[line["column"]][line["row"]]
            self._clean["measured"] += 1
            self._clean["altered"] += before != after
            self._clean["numbers_altered"] += _NUMBER.findall(before) != _NUMBER.findall(after)

    def _add_pair(self, line: Line) -> None:
        row, of, count = line["row"], line["of"], self._pairs[line["kind"]]
        count["planted"] += 1
        if row in self._sides and of in self._sides:
            count["measured"] += 1
            count["two_sides"] += self._sides[row] != self._sides[of]
            count["joined" if self._groups[row] == self._groups[of] else "no_shared_group"] += 1

    def _add_span(self, line: Line) -> None:
        row, kind, column, text = line["row"], line["kind"], line["column"], line["text"]
        count, cell, kept = self._spans[kind, column], self._cells[column].get(row, ""), row in self._sides
        left = kept and is_left(kind, text, cell)
        count.update(planted=1, measured=kept, found=kept and not left)
        count["partly_left"] += kept and not left and is_partly_left(kind, text, cell)
        if left and len(self._left[kind]) < _EXAMPLES:
            self._left[kind].append({"row": row, "column": column, "text": text})


def measure_planted(truth: Iterator[Line], prepared: pd.DataFrame) -> Line:
    """Returns the counts of all planted items of a truth file."""
    items = PlantedItems(prepared)
    for line in truth:
        items.add(line)
    return items.summarize()


def search_splits(prepared: pd.DataFrame) -> Line:
    """Searches for similar questions in different splits; returns their number, examples and the splits' shares."""
    similar = find_similar_across(prepared["question"].tolist(), prepared["side"].to_numpy())
    rows = prepared.index
    shares = {name: float((prepared["side"] == side).mean()) if len(rows) else 0.0 for side, name in enumerate(SPLITS)}
    examples = [{"rows": [int(rows[a]), int(rows[b])], "jaccard": jaccard} for a, b, jaccard in similar[:_EXAMPLES]]
    return {"rows": len(rows), "shares": shares, "alike_on_two_sides": len(similar), "alike_examples": examples}


def print_tables(result: Line, console: Console) -> None:
    """Prints the result as tables."""
    for part in ("private", "dirt"):
        columns = ("kind", "column", "planted", "measured", "found", "partly_left")
        table = Table(*columns, "recall", title=f"{part}: planted and removed")
        for entry in result[part]:
            recall = "–" if entry["recall"] is None else f"{entry['recall']:.4f}"
            table.add_row(*(str(entry[column]) for column in columns), recall)
        console.print(table)
    counted = ("planted", "measured", "joined", "no_shared_group", "two_sides")
    table = Table("pairs", *counted, title="similar questions (below: not similar enough to be joined)")
    for kind, count in result["pairs"].items():
        table.add_row(kind, *(str(count.get(key, 0)) for key in counted))
    console.print(table)
    clean, shares = result["clean"], result["shares"]
    lines = [
        f"clean cells: {clean['measured']:,} of {clean['lines']:,} kept, {clean['altered']:,} altered,"
        f" {clean['numbers_altered']:,} in a number or unit",
        f"rows: {result['rows']:,}; " + ", ".join(f"{name} {share:.4f}" for name, share in shares.items()),
        f"pairs of questions in different splits with a Jaccard index of {SIMILAR} or more:"
        f" {result['alike_on_two_sides']:,}",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 1 for similar questions in different splits, 2 for wrong input."""
    try:
        options = parse_options(argv)
        with show_progress("Measuring") as progress:
            progress("planted items", 0, 0)
            prepared = read_prepared(options.prepared)
            result = measure_planted(read_truth(options.truth), prepared)
            progress("similar questions", 0, 0)
            result |= search_splits(prepared)
        print_tables(result, Console())
        if options.json:
            write_text(options.json, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    separated = sum(count.get("two_sides", 0) for kind, count in result["pairs"].items() if kind != "below")
    return int(separated > 0 or result["alike_on_two_sides"] > 0)


def parse_options(argv: list[str]) -> argparse.Namespace:
    """Parses and checks the options."""
    parser = Parser("measure_corpus", "Measure a prepared synthetic corpus against what was planted in it.")
    parser.add_argument(
        "--truth", type=Path, required=True, metavar="FILE.jsonl", help="the truth file of make_corpus.py"
    )
    parser.add_argument(
        "--prepared", type=Path, required=True, metavar="DIR", help="a folder with one Parquet file per split"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the result")
    options = parser.parse_args(argv)
    if options.json:
        if options.json.is_dir():
            raise InputError(f"--json {options.json} is a folder.", "Name a file in it.")
        make_writable_folder(options.json.parent, "--json FILE")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
