"""Sources of consultations: files, folders, Kaggle and the Hugging Face Hub, each with its columns."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from lightning_med.data.sources.kaggle import download_dataset
from lightning_med.data.sources.table_columns import Columns
from lightning_med.data.sources.table_files import SUFFIXES
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.data.splits.own_splits import MIXED
from lightning_med.utils import hub
from lightning_med.utils.errors import InputError

_NOT_TABLES = ("dataset_infos.json", "dataset-metadata.json")  # the Hub's and Kaggle's metadata of a data set
_COLUMNS = ("question_column", "answer_column", "messages_column", "group_column", "instruction_column")
_HIDDEN = re.compile(r"\.|~\$|__MACOSX$")
AUTO = "auto"  # the instruction column of Alpaca's tables, where there is one


@dataclass(frozen=True)
class Source:
    """A place that consultations are read from.

    Attributes:
        path: A file, a folder, a glob, `kaggle:OWNER/NAME`, `hub:OWNER/NAME` or `sample`.
        question_column, answer_column: The patient's text and the doctor's.
        messages_column: Instead of the two, a list of messages with roles.
        group_column: Equal for rows of one patient.
        instruction_column: Its text is written before the question; `auto` decides by the table, see `SourceReader`.
        weight: How often an epoch shows each training row; 0.5 shows half of the rows, another half each time.
        split: The split that all its rows are of: `train`, `validation` or `test`; `mixed` splits them by the
            fractions, whatever its files are named; `None` goes by these names, see `find_file_splits`.
    """

    path: str
    question_column: str
    answer_column: str
    messages_column: str | None = None
    group_column: str | None = None
    instruction_column: str | None = None
    weight: float = 1.0
    split: str | None = None

    @property
    def columns(self) -> Columns:
        """The columns that every table has, by the option that names each."""
        texts = ["messages_column"] if self.messages_column else ["question_column", "answer_column"]
        if not self.messages_column and self.instruction_column != AUTO:
            texts.append("instruction_column")
        return {name: getattr(self, name) for name in (*texts, "group_column") if getattr(self, name)}


def parse_sources(setting: str | list[Any], **common: str | None) -> list[Source]:
    """Parses the setting `--data.source`.

    Args:
        setting: A path, or a list of paths and of mappings with `path` and any other field of `Source`.
        common: The columns of sources that name none of their own.

    Raises:
        InputError: The list is empty, or an entry has an unknown field or a wrong value.
    """
    entries = [setting] if isinstance(setting, str) else list(setting)
    if not entries:
        raise InputError("--data.source is an empty list.", "Name a file, a folder, kaggle:OWNER/NAME, …")
    sources = [_parse_source(entry if isinstance(entry, dict) else {"path": entry}, common) for entry in entries]
    if all(source.weight == 0 for source in sources):
        raise InputError("Every source has the weight 0.", "Then there is nothing to train on.")
    return sources


def _parse_source(entry: dict[str, Any], common: dict[str, str | None]) -> Source:
    fields = ("path", "weight", "split", *_COLUMNS)
    unknown = [str(name) for name in entry if name not in fields]
    if unknown or not isinstance(entry.get("path"), str):
        what = f"an entry of --data.source has an unknown field {unknown[0]!r}" if unknown else "an entry has no path"
        raise InputError(f"{what}.", f"Its fields: {', '.join(fields)}.")
    own = {name: value for name, value in entry.items() if name in _COLUMNS}
    if not all(value is None or isinstance(value, str) for value in own.values()):
        raise InputError(f"{entry['path']}: a column's name must be text.", "Put it in quotes.")
    columns = {**common, **own}
    if "messages_column" not in own and {"question_column", "answer_column"} & own.keys():
        columns["messages_column"] = None
    weight = entry.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1000:
        raise InputError(
            f"{entry['path']}: weight {weight!r} is not a number from 0 to 1000.", "1 shows its rows once per epoch."
        )
    split, known = entry.get("split"), (*SPLITS, MIXED)
    if split is not None and split not in known:
        raise InputError(f"{entry['path']}: split {split!r} is unknown.", f"It is one of: {', '.join(known)}.")
    source = Source(path=entry["path"], weight=float(weight), split=split, **columns)
    names = list(source.columns.values())
    if len(set(names)) < len(names):
        raise InputError(
            f"{source.path}: two columns have the same name {max(names, key=names.count)!r}.",
            "The columns that are read must differ: --data.question_column NAME …",
        )
    return source


def find_files(path: str, option: str = "--data.source") -> list[Path]:
    """Returns the table files of a source in a fixed order; downloads them if need be.

    Args:
        path: See `Source.path`.
        option: The setting that names it, for messages.

    Raises:
        InputError: Nothing is there, it cannot be reached, or it holds no table.
    """
    if path == "sample":
        from lightning_med.data import sample

        return [sample.PATH]
    for scheme, download in (("kaggle:", download_dataset), ("hub:", _download_from_hub)):
        if path.startswith(scheme):
            return _find_tables(download(path.removeprefix(scheme)), path)
    place = Path(path).expanduser()
    if place.is_dir():
        return _find_tables(place, path)
    if place.is_file():
        if place.suffix.lower() not in SUFFIXES:
            raise InputError(
                f"{path} is not a table in a known format.",
                f"Known suffixes: {', '.join(SUFFIXES)}; save or unpack it as one.",
            )
        return [place]
    found = (Path(name) for name in glob.glob(str(place), recursive=True))
    files = sorted(file for file in found if _is_table(file) and not _is_hidden(file.parts, place.parts))
    if not files:
        raise InputError(
            f"{path}: no such file or folder.",
            f"{option} takes a file, a folder, a glob, kaggle:OWNER/NAME, hub:OWNER/NAME, sample, or a list.",
        )
    return files


def name_files(files: list[Path]) -> list[str]:
    """Returns short unique names for reports: the file's, with as many of its folders as tell it from the others."""
    parts = [file.absolute().parts for file in files]
    names: list[str] = []
    for own in parts:
        length = 1
        while length < len(own) and sum(other[-length:] == own[-length:] for other in parts) > 1:
            length += 1
        names.append("/".join(own[-length:]))
    return names


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file() and path.name not in _NOT_TABLES


def _is_hidden(parts: Iterable[str], pattern: Iterable[str] = ()) -> bool:
    """Whether a file or one of its folders is a notebook's copy, a lock or an archive's, and no pattern asks for it."""
    asked = [part for part in pattern if _HIDDEN.match(part)]
    return any(not any(fnmatch(part, one) for one in asked) for part in parts if _HIDDEN.match(part))


def _find_tables(folder: Path, path: str) -> list[Path]:
    files = sorted(
        file for file in folder.rglob("*") if not _is_hidden(file.relative_to(folder).parts) and _is_table(file)
    )
    if not files:
        raise InputError(
            f"{path} holds no table.", f"Known suffixes: {', '.join(SUFFIXES)}; hidden files are left out."
        )
    return files


def _download_from_hub(name: str) -> Path:
    return hub.download(name, "--data.source FOLDER", [f"*{suffix}" for suffix in SUFFIXES], repo_type="dataset")
