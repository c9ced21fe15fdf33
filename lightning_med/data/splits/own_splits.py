"""Recognises the splits that the owner of a data set has made, by the names of its files and directories.

The words are those of Hugging Face datasets (`datasets/data_files.py`), in any case: `train.csv`, `my_set-test.jsonl`,
`data/validation-00000-of-00002.parquet`, `dev/part1.csv`; and in camel case, `TrainSet.csv`. A word inside another
(`contest.csv`) is none.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_med.data.splits.group_split import SPLITS
from lightning_med.utils.errors import InputError

MIXED = "mixed"  # what a source says whose files' names mean nothing
_WORDS = {"train": "train|training", "validation": "validation|valid|dev|val", "test": "test|testing|eval|evaluation"}
FRACTIONS = {"validation": "val_fraction", "test": "test_fraction"}
_LETTER = r"[^\W\d_]"
_LOWER = r"[^\W\d_A-Z]"
_PATTERNS = {
    split: re.compile(
        rf"(?:(?<!{_LETTER})(?i:{words})|(?<={_LOWER})(?:{words.title()}))(?:(?!{_LETTER})|(?<=[a-z])(?=[A-Z]))"
    )
    for split, words in _WORDS.items()
}
# As in `table_places.py`, from which this file cannot import: sources import this one.
WORKBOOKS = (".xlsx", ".xls", ".ods")
_SHOWN = 2  # files that a line names

Files = list[tuple[int, Path]]  # each with the number of its source
FileSplits = tuple[str | None, ...]  # of each file: its split; `None` where the fractions split it


def find_file_splits(files: Files, paths: Sequence[str], given: Sequence[str | None]) -> FileSplits:
    """Returns the split that each file is of; nothing where the fractions split all of them.

    A split is kept only if there is something to keep apart: not where all files are named as of one, nor where none is
    of validation or test. Names of directories count from the source on. Those of the sources themselves count where no
    name below says anything, and training is among them: `[corpus/train, corpus/test]`. A source that is given as
    training keeps its rows there wherever another is not: then the fractions split the other's.

    Args:
        files: Each with the number of its source.
        paths: Of the sources, as they were given, for messages.
        given: By source, one of `SPLITS`, `MIXED`, or `None` to go by the names.

    Raises:
        InputError: A file's name holds words of two splits, or a source has files with a word and files without.
    """
    homes = _find_homes(files)
    words = [_find_file_words(file, homes[number]) for number, file in files]
    for place, (number, _) in enumerate(files):
        if split := given[number]:
            words[place] = {split} - {MIXED}
    speaking = {number for (number, _), found in zip(files, words, strict=True) if found or given[number]}
    outer = {
        number: find_exact_words(home.stem if home.suffix.lower() == ".zip" else home.name)
        for number, home in homes.items()
        if number not in speaking
    }
    if {"train"} < set().union(*outer.values()):
        words = [found or outer.get(number, set()) for (number, _), found in zip(files, words, strict=True)]
    if set().union(*words) <= {"train"}:
        explicit = tuple(given[number] if given[number] == "train" else None for number, _ in files)
        return explicit if len(set(explicit)) > 1 else ()
    if _are_alike(words) and not any(given):
        return ()
    for number, path in enumerate(paths):
        if not given[number]:
            _check_words(path, [(file, found) for (n, file), found in zip(files, words, strict=True) if n == number])
    return tuple(next(iter(found), None) for found in words)


def sort_held_first(files: Files, splits: FileSplits) -> tuple[Files, FileSplits]:
    """Sorts files of own test splits to the front, then those of validation: of equal rows the first is kept."""
    if not splits:
        return files, splits
    order = {"test": 0, "validation": 1}
    places = sorted(range(len(files)), key=lambda place: order.get(splits[place] or "", 2))
    return [files[place] for place in places], tuple(splits[place] for place in places)


def _find_homes(files: Files) -> dict[int, Path]:
    """By source, the directory below which its files differ."""
    parents: defaultdict[int, list[Path]] = defaultdict(list)
    for number, file in files:
        parents[number].append(file.absolute().parent)
    return {number: Path(os.path.commonpath(folders)) for number, folders in parents.items()}


def _find_file_words(file: Path, home: Path) -> set[str]:
    """The splits that a file's name says; of a sheet whose own name says nothing, the workbook's name."""
    words = _find_words(file.absolute().relative_to(home).parts)
    is_sheet = file.parent.suffix.lower() in WORKBOOKS
    return words or (_find_words([file.parent.name]) if is_sheet else words)


def _find_words(parts: Sequence[str]) -> set[str]:
    return {split for split, pattern in _PATTERNS.items() if any(map(pattern.search, parts))}


def find_exact_words(name: str) -> set[str]:
    """Returns the split that a name is a word of, alone in a set, such as `validation` of `dev`."""
    return {split for split, pattern in _PATTERNS.items() if pattern.fullmatch(name)}


def _are_alike(words: list[set[str]]) -> bool:
    return len(set(map(frozenset, words))) == 1


def _check_words(path: str, words: list[tuple[Path, set[str]]]) -> None:
    hint = (
        f"Say it for each: --data.source '[{{path: FILE, split: test}}, …]'. To have all split anew:"
        f" '[{{path: {path}, split: {MIXED}}}]'"
    )
    for file, found in words:
        if len(found) > 1:
            raise InputError(f"{file}: is it of {' or of '.join(s for s in SPLITS if s in found)}?", hint)
    held = [file.name for file, found in words if found - {"train"}]
    bare = [file.name for file, found in words if not found]
    if held and bare:
        raise InputError(f"{path}: {held[0]} is named as a split, and {bare[0]} is not: of which is it?", hint)


def describe_own_splits(report: dict[str, Any]) -> str | None:
    """Returns one line about the splits that were kept, for the console; `None` where the fractions split all rows.

    Args:
        report: The data report.
    """
    own = report.get("own_splits")
    if own is None:
        return _describe_pooled(report)
    parts = []
    for split in SPLITS:
        names = [source["name"] for source in report["sources"] if source["split"] == split]
        rows = f"{split} {report['splits'][split]:,}{' rows' * (split == 'train')}"
        if names:
            more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
            parts.append(f"{rows} ({', '.join(names[:_SHOWN])}{more})")
        else:
            parts.append(f"{rows} (by {FRACTIONS[split]})" if split in FRACTIONS and report["splits"][split] else rows)
    line = f"own splits: {', '.join(parts)}"
    mixed = [source["name"] for source in report["sources"] if source["split"] is None]
    if mixed:
        line += f"; {', '.join(mixed[:_SHOWN])}{' …' * (len(mixed) > _SHOWN)} split by the fractions"
    unused = [] if mixed else [name for split, name in FRACTIONS.items() if split in own["kept"]]
    if unused:
        line += f"; {' and '.join(unused)} {'are' if len(unused) > 1 else 'is'} not used"
    if own["left_out"]:
        line += f"; {own['left_out']:,} more training rows repeat a question of validation or test and are left out"
    if own["validation_in_test"]:
        line += f"; {own['validation_in_test']:,} validation rows repeat a test question"
    return f"{line}."


def _describe_pooled(report: dict[str, Any]) -> str | None:
    """A line where there is one split alone, so that there is none to keep it apart from."""
    given = {source["split"] for source in report["recipe"]["sources"]}
    if given == {"train"}:
        return "split: train of every source: no other has rows to hold back, so the fractions split the rows."
    if given != {None}:
        return None
    words = [_find_words(Path(source["name"]).parts) for source in report["sources"]]
    if not _are_alike(words) or words[0] not in ({"validation"}, {"test"}):
        return None
    return f"Every file is named as {min(words[0])}: there is nothing to keep apart, so the fractions split the rows."
