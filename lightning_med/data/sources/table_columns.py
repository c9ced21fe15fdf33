"""The columns of a table that are read, and what to tell a user whose table lacks one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning_med.data.sources.table_places import WORKBOOKS, get_format
from lightning_med.utils.errors import InputError

Columns = dict[str, str]  # the option that names a column -> the column's name
Record = tuple[int, int, list[Any]]  # row, line (0 where a file has none), cells in the order of `Columns`

_MEANT = re.compile(  # names of columns that shape what is learned, in the usual data sets
    "answers?|assistant_masks?|chat|chosen|completion|context|conversation_id|conversations?|demonstrations|description"
    "|dialog|dialogue|doctor|few_shot|fold|group|history|images?|input|instructions?|knowledge|labels?|loss_mask|mask"
    "|messages|output|patient|patient_id|prompt|query|questions?|reasoning|rejected|responses?|sample_weight|split"
    "|subject_id|subset|system|system_prompt|target|thinking|tools|train|training|turns|weight"
)
# Names that a column may have, where it has not the one that is looked for, the likeliest first; in any case.
QUESTIONS = ("input", "question", "questions", "prompt", "query", "patient", "user", "instruction")
ANSWERS = ("output", "answer", "answers", "response", "completion", "reply", "long_answer", "doctor", "assistant")
_USUAL = {"question_column": QUESTIONS, "answer_column": ANSWERS}
_MAX_LISTED = 12  # columns that a message names
_WITH_TITLES = (".csv", ".tsv", *WORKBOOKS)  # formats where a line may stand above the header
_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}


def find_meant(names: Iterable[str]) -> list[str]:
    """Returns the columns, of those that are not read, whose owner may expect that they are."""
    return sorted(name for name in names if _MEANT.fullmatch(name.strip().lower().replace(" ", "_")))


def check_columns(path: Path, columns: Columns, header: list[str], met: set[str]) -> None:
    """Checks that a table has each column exactly once.

    Args:
        path: The file, for messages.
        columns: The columns to read.
        header: The names of the table's columns.
        met: Receives them.

    Raises:
        InputError: A column is missing or occurs twice.
    """
    met.update(header)
    for option, name in columns.items():
        count = header.count(name)
        if count > 1:
            raise InputError(f"{path} has {count} columns named {name!r}.", "Rename all but one.")
        if not count:
            raise explain_separator(path, header) or _explain_missing(path, columns, option, header)


def explain_separator(path: Path, header: list[str]) -> InputError | None:
    """Returns the error for a table with another separator than its file name says."""
    separator = next((char for char in _SEPARATORS if len(header) == 1 and char in header[0]), None)
    if separator is None:
        return None
    hint = "Name it .tsv." if separator == "\t" else "Save it with commas, or as TSV."
    return InputError(f"{path}: its cells seem to be separated by {_SEPARATORS[separator]}.", hint)


def _explain_missing(path: Path, columns: Columns, option: str, header: list[str]) -> InputError:
    if get_format(path) in (".csv", ".tsv") and any("@" in name or name.count(" ") > 5 for name in header):
        return InputError(
            f"{path}: its first line looks like a row, not like a header.",
            f"Write a line before it: {','.join(columns.values())}",
        )
    answerless = " Questions without answers: lightning-med respond --input FILE" * (option == "answer_column")
    missing = [name for name in ("question_column", "answer_column") if columns.get(name) not in (None, *header)]
    guesses = {name: _guess_column(columns, name, header) for name in {option: 0, **dict.fromkeys(missing)}}
    found = [guess for guess in guesses.values() if guess]
    guesses = guesses if len(set(found)) == len(found) else {option: guesses[option]}  # not one column for two
    named = " ".join(f"--data.{name} {_quote_spaces(guess) or 'NAME'}" for name, guess in guesses.items())
    is_title = get_format(path) in _WITH_TITLES and sum(bool(name.strip()) for name in header) == 1
    titled = " The first row is taken as the header: remove lines above yours." * is_title
    more_hints = titled + answerless
    shown = [_quote_spaces(str(column))[:60] for column in header[:_MAX_LISTED]]
    more = f", … ({len(header):,} in all)" if len(header) > _MAX_LISTED else ""
    return InputError(
        f"{path} has no column {columns[option]!r}. It has: {', '.join(shown) or 'none'}{more}.",
        f"Name yours: {named}{'.' * bool(more_hints)}{more_hints}",
    )


def _guess_column(columns: Columns, option: str, header: list[str]) -> str:
    """Returns the column that is likely meant, by its spelling or as the usual data sets name it; else nothing."""
    free = {column.lower(): column for column in reversed(header) if column not in columns.values()}
    close = difflib.get_close_matches(columns[option].lower(), free, n=1)
    return next((free[name] for name in (*close, *_USUAL.get(option, ())) if name in free), "")


def _quote_spaces(name: str) -> str:
    """Returns a column's name, quoted where a space at its start or end would not be seen."""
    return name if name == name.strip() else repr(name)
