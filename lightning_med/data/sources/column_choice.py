"""Which columns of a file are read: those that are named, an instruction beside them, or messages instead of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.conversations import name_messages
from lightning_med.data.sources.source import AUTO, Source
from lightning_med.data.sources.table_columns import Columns
from lightning_med.data.sources.table_files import read_header, read_records
from lightning_med.utils.errors import InputError

INSTRUCTION, INPUT, OUTPUT = "instruction", "input", "output"  # columns of Alpaca's tables
INSTRUCTION_COLUMN = {"instruction_column": INSTRUCTION}
_SAMPLED = 100  # rows by which a column of messages is recognised


@dataclass(frozen=True)
class ColumnChoice:
    """What of a file is read.

    Attributes:
        columns: See `Source.columns`.
        chooses: Whether a column `instruction` would be read too.
        instructed: Whether there is one.
        note: What was recognised; empty where all is as named.
    """

    columns: Columns
    chooses: bool = False
    instructed: bool = False
    note: str = ""


def choose_columns(source: Source, file: Path) -> ColumnChoice:
    """Returns what of a file is read.

    Messages are looked for where the source names no column, so that they are `input` and `output`, and the file has
    neither.

    Raises:
        InputError: Several columns hold messages, or the file is malformed.
    """
    columns = source.columns
    chooses = source.instruction_column == AUTO and columns.get("question_column") == INPUT
    pair = (columns.get("question_column"), columns.get("answer_column"))
    usual = pair == (INPUT, OUTPUT) and source.instruction_column in (AUTO, None)
    header = read_header(file) if chooses or usual else set()
    if chooses and {INSTRUCTION, INPUT} <= header:
        return ColumnChoice({**columns, **INSTRUCTION_COLUMN}, chooses=True, instructed=True)
    if usual and header and not header & {INPUT, OUTPUT} and (found := find_messages(file, header)):
        if len(found) > 1:
            raise InputError(
                f"{file} has no column {INPUT!r}, and several that hold messages: {', '.join(found)}.",
                f"Name one: --data.messages_column {next(iter(found))}",
            )
        (name, kind), *_ = found.items()
        note = f"column {name!r} holds {kind}; it is read as messages_column, for there is no {INPUT!r} nor {OUTPUT!r}."
        return ColumnChoice(replace(source, messages_column=name).columns, note=note)
    return ColumnChoice(columns, chooses)


def find_messages(file: Path, header: Iterable[str]) -> dict[str, str]:
    """Returns the columns whose first cells are all lists of messages, each with what kind they are.

    Args:
        file: A table.
        header: The names of its columns.
    """
    names = sorted(header)
    cells: dict[str, list[object]] = {name: [] for name in names}
    try:
        for _, _, row in islice(read_records(file, {name: name for name in names}, BadRows("drop"), set()), _SAMPLED):
            for name, cell in zip(names, row, strict=True):
                if cell is not None:
                    cells[name].append(cell)
    except InputError:  # it is read again, and then refused
        return {}
    kinds = {name: [name_messages(cell) for cell in column] for name, column in cells.items()}
    return {name: kind[0] for name, kind in kinds.items() if kind and all(kind)}
