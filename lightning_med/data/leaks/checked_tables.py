"""The tables that the data is checked against: their files, columns and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

import pandas as pd

from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.column_choice import find_messages
from lightning_med.data.sources.source import AUTO, Source
from lightning_med.data.sources.source_files import find_files
from lightning_med.data.sources.source_reader import SourceReader
from lightning_med.data.sources.table_columns import ANSWERS, QUESTIONS
from lightning_med.data.sources.table_files import read_header
from lightning_med.data.sources.table_places import find_repeated, locate_table
from lightning_med.utils.errors import InputError

OPTION = "--data.check_against"
_MESSAGES = ("messages", "conversations", "conversation", "dialogue", "dialog")
_MAX_LISTED = 12  # columns that a message names


@dataclass(frozen=True)
class CheckedTable:
    """A table that the data is checked against.

    Attributes:
        path: Its file, maybe inside an archive.
        digest: The SHA-256 of the file on disk, in hexadecimal; of a table inside it, of that and of the path in it.
    """

    path: str
    digest: str


def find_checked_tables(places: Sequence[str], sources: Sequence[Path]) -> tuple[CheckedTable, ...]:
    """Finds the files of the setting `check_against`, and reads their digests.

    Args:
        places: As given: whatever a source may be.
        sources: The files of the sources.

    Raises:
        InputError: One is not there or cannot be read, is named twice, or is a source too.
    """
    files = [file for place in places for file in find_files(place, OPTION)]
    if again := find_repeated(files):
        raise InputError(f"{again[0]} is named twice by {OPTION}.", f"Name it once. It was named as {again[1]}.")
    if own := find_repeated([*sources, *files]):
        raise InputError(f"{own[0]} is named by --data.source and by {OPTION}.", "No row of it would be left.")
    located = [locate_table(file) for file in files]
    digests = {file: _compute_digest(file) for file in {place.file for place in located}}  # an archive is read once
    return tuple(
        CheckedTable(str(file), place.digest(digests[place.file])) for file, place in zip(files, located, strict=True)
    )


def _compute_digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from error


def read_checked_table(table: CheckedTable, sources: Sequence[Source], bad: BadRows) -> Iterator[pd.DataFrame]:
    """Reads the rows of a table; its columns are named as a source's, or as is usual.

    Args:
        table: Need not have answers.
        sources: Whose columns' names it may have.
        bad: Takes rows that cannot be read.

    Yields:
        Frames with `question` and `answer` (text or null), `row` and, for conversations, `turn`.

    Raises:
        InputError: It has no column of questions or of messages, or is malformed.
    """
    file = Path(table.path)
    reader = SourceReader(_choose_columns(file, sources), [file], bad)
    for frame in reader.read(file):
        yield frame if "answer" in frame else frame.assign(answer=None)


def _choose_columns(file: Path, sources: Sequence[Source]) -> Source:
    header = read_header(file)

    def find(*names: str | None) -> str:
        spelled = {name.strip().lower(): name for name in sorted(header, reverse=True)}
        known = (name if name in header else spelled.get(str(name).lower(), "") for name in names if name)
        return next(filter(None, known), "")

    question = find(*(source.question_column for source in sources), *QUESTIONS)
    messages = find(*(source.messages_column for source in sources), *(() if question else _MESSAGES))
    if not question and not messages and len(found := find_messages(file, header)) == 1:
        messages = next(iter(found))
    if not question and not messages:
        listed = ", ".join(sorted(header)[:_MAX_LISTED]) + " …" * (len(header) > _MAX_LISTED)
        raise InputError(
            f"{file} has no column of questions that is known. It has: {listed or 'none'}.",
            f"Name one as the source's is named, or {', '.join(QUESTIONS)}; or {_MESSAGES[0]} for conversations.",
        )
    answer = find(*(source.answer_column for source in sources), *ANSWERS)
    return Source(file.name, question, answer, messages or None, instruction_column=AUTO)
