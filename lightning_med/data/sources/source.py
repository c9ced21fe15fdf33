"""Sources of consultations, each with its columns: the setting `--data.source`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from lightning_med.data.sources.table_columns import Columns
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.data.splits.own_splits import MIXED, find_exact_words
from lightning_med.utils.errors import InputError

_COLUMNS = ("question_column", "answer_column", "messages_column", "group_column", "instruction_column")
_FIELDS = ("path", "weight", "split", *_COLUMNS)  # of an entry
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


def parse_sources(setting: str | dict[str, Any] | list[Any], **common: str | None) -> list[Source]:
    """Parses the setting `--data.source`.

    Args:
        setting: A path, a mapping with `path` and any other field of `Source`, or a list of such. Or a mapping of
            `train`, `validation` and `test`, each to such an entry or list: then their `split` is that.
        common: The columns of sources that name none of their own.

    Raises:
        InputError: The list is empty, or an entry has an unknown field or a wrong value.
    """
    if isinstance(setting, dict) and "path" not in setting:
        setting = _list_splits(setting)
    entries = [setting] if isinstance(setting, (str, dict)) else list(setting)
    if not entries:
        raise InputError("--data.source is an empty list.", "Name a file, a folder, kaggle:OWNER/NAME, …")
    sources = [_parse_source(entry if isinstance(entry, dict) else {"path": entry}, common) for entry in entries]
    if all(source.weight == 0 for source in sources):
        raise InputError("Every source has the weight 0.", "Then there is nothing to train on.")
    return sources


def _list_splits(setting: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the entries that a mapping of splits stands for."""
    entries = []
    for split, value in setting.items():
        if split not in SPLITS:
            raise _explain_key(split)
        for one in value if isinstance(value, list) and value else [value]:
            if one == "" or not isinstance(one, (str, dict)):
                raise InputError(f"--data.source: {split} is {one!r}.", "Name a file, a folder, kaggle:OWNER/NAME, …")
            entry = dict(one) if isinstance(one, dict) else {"path": one}
            if entry.setdefault("split", split) != split:
                raise InputError(
                    f"--data.source: an entry of {split} has split {entry['split']!r}.", "Leave split out."
                )
            entries.append(entry)
    return entries


def _explain_key(key: Any) -> InputError:
    words = {*SPLITS, *_FIELDS}
    close = find_exact_words(str(key)) or set(difflib.get_close_matches(str(key), sorted(words), n=1))
    guess = f" Did you mean {min(close)}?" if close else ""
    return InputError(
        f"--data.source has an unknown key {key!r}.{guess}",
        f"A mapping has {', '.join(SPLITS)}, each a path or a list; or path, and {', '.join(_FIELDS[1:])}.",
    )


def _parse_source(entry: dict[str, Any], common: dict[str, str | None]) -> Source:
    unknown = [str(name) for name in entry if name not in _FIELDS]
    if unknown or not isinstance(entry.get("path"), str):
        what = f"an entry of --data.source has an unknown field {unknown[0]!r}" if unknown else "an entry has no path"
        raise InputError(f"{what}.", f"Its fields: {', '.join(_FIELDS)}.")
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
