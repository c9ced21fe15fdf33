"""Questions from a file: a column of a table, or a plain text with one on each line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from lightning_med.data.sources.bad_rows import BadRows, describe_place, find_fault
from lightning_med.data.sources.cell_values import blank_missing
from lightning_med.data.sources.source_files import find_files
from lightning_med.data.sources.source_reader import INSTRUCTION
from lightning_med.data.sources.table_files import read_table
from lightning_med.data.sources.table_places import ARCHIVE, KNOWN_SUFFIXES, locate_table
from lightning_med.tokenization.text_normalization import normalize_whitespace
from lightning_med.utils.errors import InputError

TEXT_SUFFIX = ".txt"
COLUMN = "input"  # of the questions, unless another is named
_HINT = "Write each question as a text in a column, and name it: --question_column NAME"


class QuestionFile:
    """A file of questions. It is read whole once, so that a row that cannot be read is refused before the work.

    Args:
        path: A table in any format that a source may have, or a text file; an archive must hold one table alone.
        column: Of the table; default `COLUMN`.

    Attributes:
        count: Its rows, those without a question too.
        blank: Its rows without a question.

    Raises:
        InputError: It cannot be read, has no such column, or holds no row.
    """

    def __init__(self, path: Path, column: str | None = None) -> None:
        self.path, self.column = path, column
        place = locate_table(path)
        if not place.file.is_file():
            raise InputError(
                f"--input {path}: no such file.", "Name a table, or a text with one question on each line."
            )
        suffix = path.suffix.lower()
        if not place.format and suffix not in (TEXT_SUFFIX, ARCHIVE):
            raise InputError(
                f"--input {path} is not a file of questions in a known format.",
                f"Known suffixes: {TEXT_SUFFIX}, {KNOWN_SUFFIXES}; {ARCHIVE}; save it as one.",
            )
        if path != place.file or suffix == ARCHIVE:
            tables = find_files(str(path))
            if len(tables) > 1:
                raise InputError(f"--input {path} holds {len(tables)} tables.", f"Name one: --input {tables[0]}")
            self.path = tables[0]
        if suffix == TEXT_SUFFIX and column:
            raise InputError(f"{path} is a text and has no columns.", "Leave --question_column out.")
        self.count = self.blank = 0
        for _, question in self:
            self.count += 1
            self.blank += not normalize_whitespace(question)
        if not self.count:
            raise InputError(f"{path} holds no question.", "Write one on each row.")

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yields the number of each row, from 0, with its question, which is empty where there is none."""
        if self.path.suffix.lower() == TEXT_SUFFIX:
            yield from _read_lines(self.path)
            return
        column = self.column or COLUMN
        try:
            met: set[str] = set()
            for frame in read_table(self.path, {"question_column": column}, _NoBadRows(), met):
                if INSTRUCTION in met and self.column is None:
                    raise InputError(
                        f"{self.path} has a column {INSTRUCTION!r} beside {COLUMN!r}.",
                        f"Join them to one column and name it; or --question_column {COLUMN}, to leave it out.",
                    )
                cells = blank_missing(frame.iloc[:, 0], self.path)
                for cell, row, line in zip(cells, frame["row"], frame["line"], strict=True):
                    if fault := find_fault([cell]):
                        _NoBadRows().add(describe_place(self.path, row, line), *fault)
                    yield int(row), cell if isinstance(cell, str) else ""
        except InputError as error:  # readers name options that only the data module has
            raise InputError(error.what, _HINT if "--data." in error.hint else error.hint) from error

    def identify(self) -> dict[str, str]:
        """Returns what the questions depend on, by a name for messages."""
        place = locate_table(self.path)
        with place.file.open("rb") as file:
            digest = place.digest(hashlib.file_digest(file, "sha256").hexdigest())
        return {"input": digest[:16], "question column": self.column or COLUMN}


class _NoBadRows(BadRows):
    """Refuses the first row that cannot be read: every row is answered, none is left out."""

    def add(self, place: str, fault: str, hint: str) -> None:
        raise InputError(f"{place}: {fault}.", hint)


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if "\x00" in line:
                    raise InputError(f"{path}, line {number}: a NUL byte.", "It may be UTF-16: save it as UTF-8.")
                yield number - 1, line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}, after line {number}: bytes that are not UTF-8.",
            f"Convert it, for instance: iconv -f windows-1252 -t utf-8 {path.name} > utf8-{path.name}",
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
