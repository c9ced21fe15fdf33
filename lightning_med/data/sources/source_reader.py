"""Reads the consultations of a source's files, and notes what is in them but not read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_med.data.sources.bad_rows import BadRows, describe_place, keep_readable
from lightning_med.data.sources.cell_values import blank_missing, normalize_group
from lightning_med.data.sources.column_choice import (
    INPUT,
    INSTRUCTION,
    INSTRUCTION_COLUMN,
    ColumnChoice,
    choose_columns,
)
from lightning_med.data.sources.conversations import SYSTEM, split_exchanges
from lightning_med.data.sources.source import Source
from lightning_med.data.sources.source_files import name_files
from lightning_med.data.sources.table_columns import find_meant
from lightning_med.data.sources.table_files import read_records, read_table
from lightning_med.utils.errors import InputError

Choices = dict[Path, ColumnChoice]
_COLUMNS = ("question", "answer", "group", "row", "turn", "learned")


class SourceReader:
    """Reads the consultations of a source's files.

    Where the source's instruction column is `auto`, the question column is `input` and a table has a column
    `instruction`, it is joined to the question as Alpaca's prompt does: instruction, empty line, input. One text in all
    rows is a system prompt instead and left out, as in HealthCareMagic's copies; where `input` is blank it is the
    question.

    Args:
        source: Names the columns.
        files: The files of the source, in order.
        bad: Takes rows that cannot be read.
        choices: What of each file is read, where it is known; else it is looked for.
        joins: Whether instructions are joined; `None` decides by the rows of this source alone.

    Raises:
        InputError: A file is malformed.
    """

    def __init__(
        self,
        source: Source,
        files: list[Path],
        bad: BadRows,
        choices: Choices | None = None,
        joins: bool | None = None,
    ) -> None:
        self._files, self._bad = files, bad
        self._met: set[str] = set()  # names of the columns of all files
        self._message_keys: set[str] = set()
        self._choices = _choose_all(source, files) if choices is None else choices
        self._joins = _have_different_instructions([self._choices]) if joins is None else joins

    def read(self, file: Path) -> Iterator[pd.DataFrame]:
        """Reads the consultations of a file in order.

        Yields:
            Frames with columns `question` and `answer` (text or null), `group` (text or null; where a column is named),
            `row` (0-based in the file) and, for conversations, `turn` and `learned` (whether the doctor's turn is to be
            learned). All exchanges of a conversation are in one frame.

        Raises:
            InputError: See `read_table`; or the column `instruction` begins in the middle.
        """
        met: set[str] = set()
        choice = self._choices[file]
        for frame in read_table(file, choice.columns, self._bad, met):
            if choice.chooses and not choice.instructed and INSTRUCTION in met:
                raise InputError(
                    f"{file}: its rows have no {INSTRUCTION!r} at first, and later they do.",
                    "Write it in all rows, or leave it out: --data.instruction_column null",
                )
            self._met |= met
            yield self._read_frame(frame, file, choice)

    def _read_frame(self, frame: pd.DataFrame, file: Path, choice: ColumnChoice) -> pd.DataFrame:
        names: list[str] = [option.removesuffix("_column") for option in choice.columns]
        frame = frame.set_axis([*names, "row", "line"], axis=1)
        texts = [name for name in names if name != "group"]  # a patient may be called NA
        frame = frame.assign(**{name: _make_column(blank_missing(frame[name], file), frame) for name in texts})
        if "messages" in names:
            frame = split_exchanges(frame, "messages", file, self._bad, self._message_keys)
        else:
            places = (describe_place(file, *place) for place in zip(frame["row"], frame["line"], strict=True))
            texts = [name for name in ("instruction", "question", "answer") if name in names]
            frame = keep_readable(frame, texts, places, self._bad)
        if "group" in names:
            frame = frame.assign(group=_make_column([normalize_group(cell) for cell in frame["group"]], frame))
        if "instruction" in names:
            pairs = zip(frame["instruction"], frame["question"], strict=True)
            join = _join_question if self._joins or not choice.chooses else _fill_question
            frame = frame.assign(question=_make_column([join(*pair) for pair in pairs], frame))
        return frame[[name for name in _COLUMNS if name in frame.columns]]

    @property
    def notes(self) -> list[str]:
        """What of the files that were read is not used, or joined, one line each."""
        choices = self._choices.values()
        notes = list(dict.fromkeys(choice.note for choice in choices if choice.note))
        used = {name for choice in choices for name in choice.columns.values()}
        instructed = any(choice.instructed for choice in choices)
        if instructed and self._joins:
            notes.append(f"{INSTRUCTION} and {INPUT} are joined to one question.")
        elif instructed:
            hint = "To put it before every question: --data.system_prompt TEXT"
            notes.append(f"{INSTRUCTION} is the same in all rows and left out, except where {INPUT} is blank. {hint}")
        if columns := find_meant(self._met - used):
            notes.append(f"columns not used: {', '.join(columns)}.")
        if keys := sorted(self._message_keys - {SYSTEM}):
            notes.append(f"keys of messages not used: {', '.join(keys)}.")
        if SYSTEM in self._message_keys:
            notes.append("system messages not used: --data.system_prompt stands before every conversation.")
        names = name_files(self._files)
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return [f"{names[0]}{more}: {note}" for note in notes]


def make_readers(sources: Sequence[Source], files: Sequence[tuple[int, Path]], bad: BadRows) -> list[SourceReader]:
    """Returns the reader of each source; instructions are joined in all of them or in none.

    Args:
        sources: All of a recipe.
        files: Each with the number of its source.
        bad: Takes rows that cannot be read.
    """
    own = [[file for owner, file in files if owner == number] for number in range(len(sources))]
    choices = list(map(_choose_all, sources, own))
    joins = _have_different_instructions(choices)
    return [SourceReader(one, its, bad, those, joins) for one, its, those in zip(sources, own, choices, strict=True)]


def read_frames(source: Source, file: Path, bad: BadRows) -> Iterator[pd.DataFrame]:
    """Reads the consultations of a single file; see `SourceReader.read`."""
    return SourceReader(source, [file], bad).read(file)


def _choose_all(source: Source, files: list[Path]) -> Choices:
    return {file: choose_columns(source, file) for file in files}


def _have_different_instructions(choices: Iterable[Choices]) -> bool:
    """Whether two rows differ in their instructions, a blank one included; reads no further than to the second."""
    files = [file for own in choices for file, choice in own.items() if choice.instructed]
    texts = chain.from_iterable(map(_read_instructions, files))
    first = next(texts, None)
    return any(text != first for text in texts)


def _read_instructions(file: Path) -> Iterator[str]:
    records = read_records(file, INSTRUCTION_COLUMN, BadRows("drop"), set())
    for cell in blank_missing((cells[0] for _, _, cells in records), file):
        yield str(cell or "").strip()


def _join_question(instruction: str | None, question: str | None) -> str | None:
    """Joins the two as Alpaca's prompt does; either may be missing."""
    texts = [text for text in (instruction, question) if text is not None and text.strip()]
    return "\n\n".join(texts) if texts else question


def _fill_question(instruction: str | None, question: str | None) -> str | None:
    """Returns the instruction where there is no other question."""
    return question if question is not None and question.strip() else instruction or question


def _make_column(cells: list[Any], frame: pd.DataFrame) -> pd.Series:
    return pd.Series(cells, index=frame.index, dtype=object)
