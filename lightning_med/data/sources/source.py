"""Where consultations come from: files, folders, Kaggle, the Hub; one source or several, each with its columns."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_med.data.sources import kaggle
from lightning_med.data.sources.bad_rows import BadRows, keep_readable
from lightning_med.data.sources.conversations import split_exchanges
from lightning_med.data.sources.table_files import SUFFIXES, Columns, describe_place, read_table
from lightning_med.utils import hub
from lightning_med.utils.errors import InputError

_NOT_TABLES = ("dataset_infos.json", "dataset-metadata.json")  # the Hub's and Kaggle's words about a data set
_COLUMNS = ("question_column", "answer_column", "messages_column", "group_column")


@dataclass(frozen=True)
class Source:
    """One place that consultations come from.

    Attributes:
        path: A file, a folder, a glob, `kaggle:OWNER/NAME`, `hub:OWNER/NAME` or `sample`.
        question_column, answer_column: The patient's words and the doctor's.
        messages_column: In place of the two, a list of messages with roles.
        group_column: What rows of one patient share.
        weight: How often an epoch shows each of its training rows; 0.5 shows half of them, another half each time.
    """

    path: str
    question_column: str
    answer_column: str
    messages_column: str | None = None
    group_column: str | None = None
    weight: float = 1.0

    @property
    def columns(self) -> Columns:
        """The columns to read, by the option that names each."""
        texts = ("messages_column",) if self.messages_column else ("question_column", "answer_column")
        return {name: getattr(self, name) for name in (*texts, "group_column") if getattr(self, name)}


def parse_sources(given: str | list[Any], **common: str | None) -> list[Source]:
    """The sources that a setting names.

    Args:
        given: A path, or a list of paths and of mappings with `path` and any other field of `Source`.
        common: The columns of those that name none.

    Raises:
        InputError: The list is empty, or an entry has an unknown field or a wrong value.
    """
    entries = [given] if isinstance(given, str) else list(given)
    if not entries:
        raise InputError("--data.source is an empty list.", "Name a file, a folder, kaggle:OWNER/NAME, …")
    found = [_parse_source(entry if isinstance(entry, dict) else {"path": entry}, common) for entry in entries]
    if all(source.weight == 0 for source in found):
        raise InputError("Every source has the weight 0.", "Then there is nothing to train on.")
    return found


def _parse_source(entry: dict[str, Any], common: dict[str, str | None]) -> Source:
    known = ("path", "weight", *_COLUMNS)
    unknown = [str(name) for name in entry if name not in known]
    if unknown or not isinstance(entry.get("path"), str):
        what = f"an entry of --data.source has an unknown field {unknown[0]!r}" if unknown else "an entry has no path"
        raise InputError(f"{what}.", f"Its fields: {', '.join(known)}.")
    own = {name: value for name, value in entry.items() if name in _COLUMNS}
    if not all(value is None or isinstance(value, str) for value in own.values()):
        raise InputError(f"{entry['path']}: a column's name is text.", "Put it in quotes.")
    columns = {**common, **own}
    if "messages_column" not in own and {"question_column", "answer_column"} & own.keys():
        columns["messages_column"] = None
    weight = entry.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1000:
        raise InputError(
            f"{entry['path']}: weight {weight!r} is no number from 0 to 1000.", "1 shows its rows once an epoch."
        )
    source = Source(path=entry["path"], weight=float(weight), **columns)
    named = list(source.columns.values())
    if len(set(named)) < len(named):
        raise InputError(
            f"{source.path}: two columns have the same name {max(named, key=named.count)!r}.",
            "question_column, answer_column and group_column are three: --data.question_column NAME …",
        )
    return source


def find_files(path: str) -> list[Path]:
    """The table files that a source names, downloaded if need be, in a fixed order.

    Raises:
        InputError: Nothing is there, it cannot be reached, or it holds no table.
    """
    if path == "sample":
        from lightning_med.data import sample

        return [sample.PATH]
    for scheme, download in (("kaggle:", kaggle.download_dataset), ("hub:", _download_from_hub)):
        if path.startswith(scheme):
            return _find_tables(download(path.removeprefix(scheme)), path)
    place = Path(path).expanduser()
    if place.is_dir():
        return _find_tables(place, path)
    if place.is_file():
        if place.suffix.lower() not in SUFFIXES:
            raise InputError(
                f"{path} is not a table that can be read.",
                f"Known endings: {_list_endings()}; save or unpack it as one.",
            )
        return [place]
    found = sorted(Path(p) for p in glob.glob(str(place), recursive=True) if _is_table(Path(p)))
    if not found:
        raise InputError(
            f"{path}: no such file or folder.",
            "--data.source takes a file, a folder, a glob, kaggle:OWNER/NAME, hub:OWNER/NAME, sample, or a list.",
        )
    return found


def name_files(files: list[Path]) -> list[str]:
    """What each file is called in what we write: its name, and its folder's where two share one; no whole path."""
    common = Counter(file.name for file in files)
    return [file.name if common[file.name] == 1 else f"{file.absolute().parent.name}/{file.name}" for file in files]


def read_frames(source: Source, file: Path, bad: BadRows) -> Iterator[pd.DataFrame]:
    """The consultations of one file, in order.

    Yields:
        Frames with columns `question` and `answer` (text or null), `group` (text or null; where a column is named),
        `row` (0-based in that file) and, for conversations, `turn`. All exchanges of a conversation are in one frame.

    Raises:
        InputError: See `tables.frames`.
    """
    columns = source.columns
    for frame in read_table(file, columns, bad):
        frame = frame.set_axis([*(option.removesuffix("_column") for option in columns), "row", "line"], axis=1)
        if source.messages_column:
            frame = split_exchanges(frame, "messages", file, bad)
        else:
            places = (describe_place(file, *of) for of in zip(frame["row"], frame["line"], strict=True))
            frame = keep_readable(frame, ["question", "answer"], places, bad)
        if source.group_column:
            groups = [None if cell is None or cell != cell else str(cell).strip() or None for cell in frame["group"]]
            frame = frame.assign(group=pd.Series(groups, index=frame.index, dtype=object))
        yield frame[[name for name in ("question", "answer", "group", "row", "turn") if name in frame.columns]]


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file() and path.name not in _NOT_TABLES


def _find_tables(folder: Path, path: str) -> list[Path]:
    found = sorted(p for p in folder.rglob("*") if _is_table(p))
    if not found:
        raise InputError(f"{path} holds no table.", f"Known endings: {_list_endings()}.")
    return found


def _list_endings() -> str:
    return ", ".join(SUFFIXES)


def _download_from_hub(name: str) -> Path:
    return hub.download(name, "--data.source FOLDER", [f"*{ending}" for ending in SUFFIXES], repo_type="dataset")
