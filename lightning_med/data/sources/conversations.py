"""Conversations of several turns: lists of messages with roles, as chat data sets have them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_med.data.sources.bad_rows import BadRows, describe_place, find_fault

_PATIENT_ROLES = {"user", "human", "patient"}
_DOCTOR_ROLES = {"assistant", "gpt", "doctor", "model"}
_IGNORED_ROLES = {"system", "developer"}  # the system prompt is a setting
_EXPECTED = 'Expected: [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}, …]'


def split_exchanges(frame: pd.DataFrame, column: str, path: Path, bad: BadRows) -> pd.DataFrame:
    """Splits each conversation into exchanges, a patient's turn and the doctor's reply, one per row.

    Consecutive messages of one side are joined. Messages of the doctor before the first question, and of the patient
    after the last reply, are left out. A conversation without an exchange gives one row of nulls.

    Args:
        frame: Has a column of messages, which are lists of mappings with `role` and `content` (or `from` and `value`)
            or such lists as JSON text, and columns `row` and `line`.
        column: The name of the column of messages.
        path: The file, for messages to the user.
        bad: Takes conversations that cannot be read.

    Returns:
        A frame with `question`, `answer`, `turn` (0-based within a conversation) and the other columns of `frame`.
    """
    rows: list[tuple[Any, ...]] = []
    others = [name for name in frame.columns if name != column]
    for cell, rest in zip(frame[column], frame[others].itertuples(index=False, name=None), strict=True):
        place = describe_place(path, rest[others.index("row")], rest[others.index("line")])
        try:
            exchanges = list(_pair_turns(_read_messages(cell)))
        except ValueError as error:
            bad.add(place, str(error), _EXPECTED)
            continue
        if fault := find_fault(text for exchange in exchanges for text in exchange):
            bad.add(place, *fault)
            continue
        rows += [(*exchange, turn, *rest) for turn, exchange in enumerate(exchanges or [(None, None)])]
    return pd.DataFrame(rows, columns=["question", "answer", "turn", *others], dtype=object)


def _read_messages(cell: Any) -> Iterator[tuple[bool, str]]:
    """Yields for each message whether the doctor wrote it, and its text."""
    if cell is None:
        return
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            raise ValueError("its messages are not JSON") from None
    if not hasattr(cell, "__iter__") or isinstance(cell, (str, dict)):
        raise ValueError("its messages are not a list")
    for message in cell:
        if not isinstance(message, dict):
            raise ValueError("a message is not an object")
        role = str(message.get("role") or message.get("from") or "").lower()
        content = message.get("content", message.get("value"))
        if role in _IGNORED_ROLES:
            continue
        if role not in _PATIENT_ROLES | _DOCTOR_ROLES:
            # Without the role: it may be a person's name.
            raise ValueError("a message has a role that is neither user nor assistant")
        if not isinstance(content, str):
            raise ValueError("a message's content is not text")
        yield role in _DOCTOR_ROLES, content


def _pair_turns(messages: Iterator[tuple[bool, str]]) -> Iterator[tuple[str, str]]:
    question: list[str] = []
    answer: list[str] = []
    for by_doctor, text in messages:
        if by_doctor and question:
            answer.append(text)
        elif not by_doctor:
            if answer:
                yield "\n".join(question), "\n".join(answer)
                question, answer = [], []
            question.append(text)
    if answer:
        yield "\n".join(question), "\n".join(answer)
