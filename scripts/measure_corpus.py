"""Measures a prepared synthetic corpus against what was planted in it.

How much private data is gone, whether a clean row was touched, whether questions that are alike share a side and a
group; and, whatever the truth file says, an exact search for questions that are alike on two sides. The exit status is
1 where alike questions stand on two sides.

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
from synthetic.search import ALIKE, alike_across

from lightning_med.cli.arguments import Parser
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
    """The rows of all sides, by their row in the table, with the `side` they stand on.

    Raises:
        InputError: A side is not there, or has not the columns.
    """
    frames = []
    columns = ["row", "group", "question", "answer"]
    for side, name in enumerate(SPLITS):
        path = folder / f"{name}.parquet"
        try:
            frames.append(pd.read_parquet(path, columns=columns).assign(side=side))
        except FileNotFoundError as error:
            raise InputError(f"{path} is not there.", "--prepared names a folder with one file a split.") from error
        except (ValueError, KeyError, OSError) as error:
            raise InputError(f"{path} is no Parquet file with the columns {', '.join(columns)}.") from error
    frame = pd.concat(frames, ignore_index=True)
    if frame["row"].duplicated().any():
        raise InputError(f"{folder}: a row stands there more than once.", "One table with one turn a row is measured.")
    return frame.set_index("row")


def read_truth(path: Path) -> Iterator[Line]:
    """The lines of a truth file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                line = json.loads(text)
                if not {"row", "column", "kind", "text"} <= line.keys():
                    raise InputError(f"{path}, line {number}: no truth about a row.", "make_corpus.py writes the file.")
                yield line
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}.", "--truth names what make_corpus.py wrote."
        ) from error
    except ValueError as error:
        raise InputError(f"{path} cannot be read as a truth file: {error}.") from error


def still_there(kind: str, text: str, cell: str) -> bool:
    """Whether a planted thing is left in a cell. A planted name stands nowhere else in its cell, so any other is it."""
    if kind.startswith("name"):
        return re.search(rf"(?<!\w){re.escape(text)}(?!\w)", cell, re.IGNORECASE) is not None
    if kind in ("missing", "blank", "short"):
        return cell == text
    if kind == "outer_space":
        return cell != cell.strip()
    return cell.rstrip().endswith(text) if kind == "cut" else text in cell


def partly_there(kind: str, text: str, cell: str) -> bool:
    """Whether a word of a planted name is left."""
    return kind.startswith("name") and any(still_there(kind, word, cell) for word in text.split())


def measure(truth: Iterator[Line], prepared: pd.DataFrame) -> Line:
    """All that is told of the prepared rows by the lines of the truth file."""
    cells = {column: dict(zip(prepared.index, prepared[name], strict=True)) for column, name in COLUMNS.items()}
    sides = dict(zip(prepared.index, prepared["side"], strict=True))
    groups = dict(zip(prepared.index, prepared["group"], strict=True))
    spans: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    pairs: dict[str, Counter[str]] = defaultdict(Counter)
    clean: Counter[str] = Counter(lines=0, measured=0, altered=0, numbers_altered=0)
    leaks: dict[str, list[Line]] = defaultdict(list)
    for line in truth:
        row, kind, there = line["row"], line["kind"], line["row"] in sides
        if kind == "clean":
            clean["lines"] += 1
            if there:
                clean.update(_altered(line["text"], cells[line["column"]][row]))
                clean["measured"] += 1
        elif kind in PAIRS:
            pairs[kind]["planted"] += 1
            if there and line["of"] in sides:
                pairs[kind]["measured"] += 1
                pairs[kind]["two_sides"] += sides[row] != sides[line["of"]]
                pairs[kind]["joined" if groups[row] == groups[line["of"]] else "no_shared_group"] += 1
        else:
            count, cell = spans[kind, line["column"]], cells[line["column"]].get(row, "")
            left = there and still_there(kind, line["text"], cell)
            count.update(planted=1, measured=there, found=there and not left)
            count["partly_left"] += there and not left and partly_there(kind, line["text"], cell)
            if left and len(leaks[kind]) < _EXAMPLES:
                leaks[kind].append({"row": row, "column": line["column"], "text": line["text"]})
    told: list[Line] = [{"kind": kind, "column": column, **count} for (kind, column), count in sorted(spans.items())]
    for entry in told:
        entry["recall"] = entry["found"] / entry["measured"] if entry["measured"] else None
    return {
        "private": [entry for entry in told if entry["kind"] not in DIRT],
        "dirt": [entry for entry in told if entry["kind"] in DIRT],
        "clean": dict(clean),
        "pairs": {kind: dict(count) for kind, count in sorted(pairs.items())},
        "left": dict(leaks),
    }


def _altered(before: str, after: str) -> dict[str, int]:
    return {"altered": before != after, "numbers_altered": _NUMBER.findall(before) != _NUMBER.findall(after)}


def across(prepared: pd.DataFrame) -> Line:
    """The search over all sides, with the shares of the sides."""
    found = alike_across(prepared["question"].tolist(), prepared["side"].to_numpy())
    rows = prepared.index
    shares = {name: float((prepared["side"] == side).mean()) if len(rows) else 0.0 for side, name in enumerate(SPLITS)}
    examples = [{"rows": [int(rows[a]), int(rows[b])], "jaccard": alike} for a, b, alike in found[:_EXAMPLES]]
    return {"rows": len(rows), "shares": shares, "alike_on_two_sides": len(found), "alike_examples": examples}


def report(result: Line, console: Console) -> None:
    """Prints tables for people."""
    for part in ("private", "dirt"):
        columns = ("kind", "column", "planted", "measured", "found", "partly_left")
        table = Table(*columns, "recall", title=f"{part}: what is planted and no longer there")
        for entry in result[part]:
            recall = "–" if entry["recall"] is None else f"{entry['recall']:.4f}"
            table.add_row(*(str(entry[column]) for column in columns), recall)
        console.print(table)
    counted = ("planted", "measured", "joined", "no_shared_group", "two_sides")
    table = Table("pairs", *counted, title="questions planted alike (below: nothing need join them)")
    for kind, count in result["pairs"].items():
        table.add_row(kind, *(str(count.get(key, 0)) for key in counted))
    console.print(table)
    clean, shares = result["clean"], result["shares"]
    lines = [
        f"clean cells: {clean['measured']:,} of {clean['lines']:,} kept, {clean['altered']:,} altered,"
        f" {clean['numbers_altered']:,} in a number or unit",
        f"rows: {result['rows']:,}; " + ", ".join(f"{name} {share:.4f}" for name, share in shares.items()),
        f"questions with a Jaccard index of {ALIKE} or more on two sides: {result['alike_on_two_sides']:,}",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def main(argv: list[str]) -> int:
    """Returns the exit status: 1 where questions that are alike stand on two sides, 2 for wrong input."""
    try:
        given = _arguments(argv)
        with show_progress("Measuring") as progress:
            progress("what is planted", 0, 0)
            prepared = read_prepared(given.prepared)
            result = measure(read_truth(given.truth), prepared)
            progress("questions on two sides", 0, 0)
            result |= across(prepared)
        report(result, Console())
        if given.json:
            write_text(given.json, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    torn = sum(count.get("two_sides", 0) for kind, count in result["pairs"].items() if kind != "below")
    return int(torn > 0 or result["alike_on_two_sides"] > 0)


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = Parser("measure_corpus", "Measure a prepared synthetic corpus against what was planted in it.")
    parser.add_argument("--truth", type=Path, required=True, metavar="FILE.jsonl", help="what make_corpus.py planted")
    parser.add_argument("--prepared", type=Path, required=True, metavar="DIR", help="one Parquet file a split")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what is measured there, too")
    given = parser.parse_args(argv)
    if given.json:
        if given.json.is_dir():
            raise InputError(f"--json {given.json} is a folder.", "Name a file in it.")
        make_writable_folder(given.json.parent, "--json FILE")
    return given


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
