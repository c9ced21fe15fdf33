"""The data of a first config: where it lies, and which of its columns are read."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from lightning_med.data.sources.column_choice import find_messages
from lightning_med.data.sources.source_files import find_files
from lightning_med.data.sources.table_columns import ANSWERS, QUESTIONS, explain_separator
from lightning_med.data.sources.table_files import read_header
from lightning_med.data.sources.table_places import ARCHIVE, SUFFIXES
from lightning_med.utils.errors import InputError

SAMPLE = "sample"
_REMOTE = re.compile(r"(kaggle|hub):[\w.-]+/[\w.-]+")
_TABLES = (*SUFFIXES, ARCHIVE)
_LISTED = 12  # columns that a message names


@dataclass(frozen=True)
class Data:
    """What is trained on.

    Attributes:
        source: As `--data.source` takes it.
        header: The names of its columns; `None` where it was not looked at.
        columns: The settings that name those that are read; empty where it is not known which.
    """

    source: str
    header: frozenset[str] | None
    columns: dict[str, str]

    @property
    def name(self) -> str:
        """A name for the config."""
        path = Path(self.source if self.header is not None else self.source.partition(":")[2] or self.source)
        ending = max((end for end in _TABLES if path.name.lower().endswith(end)), key=len, default="")
        name = path.name[: len(path.name) - len(ending)].strip("*.")
        return name or (path.parent if "*" in path.name else path).resolve().name


def suggest_data() -> str:
    """Returns the only table of this folder, else `sample`."""
    files = [path for path in Path().iterdir() if path.name.lower().endswith(_TABLES) and not path.name.startswith(".")]
    return str(files[0]) if len(files) == 1 and files[0].is_file() else SAMPLE


def read_data(answer: str, given: dict[str, str]) -> Data:
    """Looks at what an answer names, and finds the columns to read.

    Args:
        answer: A path, `kaggle:OWNER/NAME`, `hub:OWNER/NAME` or `sample`. Nothing is downloaded.
        given: Columns that the command names, by setting.

    Raises:
        InputError: There is no such table, its cells are separated otherwise than its name says, or it lacks a column
            that is named.
    """
    if answer.startswith(("kaggle:", "hub:")):
        if not _REMOTE.fullmatch(answer):
            raise InputError(f"{answer} names no data set.", "Write kaggle:OWNER/NAME or hub:OWNER/NAME.")
        return Data(answer, None, given or {"question_column": "input", "answer_column": "output"})
    if answer == SAMPLE and given:
        hint = f"Leave --{next(iter(given))} out, or name another table: --data FILE"
        raise InputError(f"The columns of {SAMPLE} are known, and have other names.", hint)
    if answer == SAMPLE:
        return Data(answer, None, {})
    file = find_files(answer, "--data")[0]
    header = frozenset(read_header(file))
    if error := explain_separator(file, list(header)):
        raise error
    if missing := [name for name in given.values() if name not in header]:
        raise InputError(f"{file} has no column {missing[0]!r}.", _list_columns(header))
    return Data(answer, header, given or find_columns(file, header))


def find_columns(file: Path, header: Collection[str]) -> dict[str, str]:
    """Returns the settings for the columns of a table; empty where more than one choice could be meant.

    The defaults, `input` and `output`, come first. Then either a column of conversations, or a column with a name of
    questions beside one with a name of answers, where there is one of each.
    """
    if {"input", "output"} <= set(header):
        return {"question_column": "input", "answer_column": "output"}
    messages = list(find_messages(file, header))
    found = [[name for name in header if _normalize(name) in names] for names in (QUESTIONS, ANSWERS)]
    pairs = len(found[0]) == len(found[1]) == 1
    if len(messages) == 1 and not pairs:
        return {"messages_column": messages[0]}
    if pairs and not messages:
        return {"question_column": found[0][0], "answer_column": found[1][0]}
    return {}


def explain_columns(data: Data) -> InputError:
    """Returns the error for a table whose columns are not known."""
    return InputError(
        f"{data.source}: which column holds the questions and which the answers? {_list_columns(data.header or ())}",
        "Name them: --question_column NAME --answer_column NAME, or --messages_column NAME for conversations.",
    )


def read_column(data: Data, answer: str) -> str:
    """Returns a column that an answer names.

    Raises:
        InputError: The table has none of that name.
    """
    if data.header is not None and answer not in data.header:
        raise InputError(f"There is no column {answer!r}.", _list_columns(data.header))
    return answer


def _list_columns(header: Collection[str]) -> str:
    shown = ", ".join(sorted(map(str, header))[:_LISTED])
    return f"It has: {shown or 'none'}{', …' if len(header) > _LISTED else ''}."


def _normalize(name: str) -> str:
    return name.strip().lower().replace(" ", "_")
