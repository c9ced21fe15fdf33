"""Conversations of several turns: lists of messages with roles, the chat format of today's data sets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from lightning_med.data.sources.bad_rows import BadRows, find_fault
from lightning_med.data.sources.table_files import describe_place

_PATIENT = {"user", "human", "patient"}
_DOCTOR = {"assistant", "gpt", "doctor", "model"}
_LEFT_OUT = {"system", "developer"}  # the system prompt is a setting of ours
_EXPECTED = 'Expected: [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}, …]'


def split_exchanges(frame: pd.DataFrame, column: str, path: Any, bad: BadRows) -> pd.DataFrame:
    """One row an exchange, a patient's turn and the doctor's reply to it, numbered by `turn` within a conversation.

    What a doctor says before the patient has spoken, and what a patient says last without a reply, are left out;
    messages of one side that follow each other become one. A conversation without an exchange gives one row of nulls.

    Args:
        frame: With a column of messages: lists of mappings with `role` and `content` (or `from` and `value`), or such
            a list as JSON text; `row` and `line`.
        column: Its name.
        path: The file, for messages.
        bad: What to do with a conversation that cannot be read.
    """
    rows = []
    others = [name for name in frame.columns if name != column]
    for cell, rest in zip(frame[column], frame[others].itertuples(index=False, name=None), strict=True):
        where = describe_place(path, rest[others.index("row")], rest[others.index("line")])
        try:
            found = list(_pair_turns(_read_turns(cell)))
        except ValueError as error:
            bad.add(where, str(error), _EXPECTED)
            continue
        wrong = find_fault(text for pair in found for text in pair)
        if wrong:
            bad.add(where, *wrong)
            continue
        rows += [(question, answer, turn, *rest) for turn, (question, answer) in enumerate(found or [(None, None)])]
    return pd.DataFrame(rows, columns=["question", "answer", "turn", *others], dtype=object)


def _read_turns(cell: Any) -> Iterator[tuple[bool, str]]:
    """Whether the doctor speaks, and what is said."""
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
        if role in _LEFT_OUT:
            continue
        if role not in _PATIENT | _DOCTOR:
            raise ValueError("a message has a role that is neither user nor assistant")  # it may be a person's name
        if not isinstance(content, str):
            raise ValueError("a message's content is not text")
        yield role in _DOCTOR, content


def _pair_turns(turns: Iterator[tuple[bool, str]]) -> Iterator[tuple[str, str]]:
    question: list[str] = []
    answer: list[str] = []
    for doctor, text in turns:
        if doctor and question:
            answer.append(text)
        elif not doctor:
            if answer:
                yield "\n".join(question), "\n".join(answer)
                question, answer = [], []
            question.append(text)
    if answer:
        yield "\n".join(question), "\n".join(answer)
