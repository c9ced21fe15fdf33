"""Conversations of several turns: lists of messages with roles, as chat data sets have them.

A message of the doctor may be marked as one that is not to be learned, by the keys that OpenAI (`weight`), axolotl and
ShareGPT (`train`, `training`) and ms-swift (`loss`) know, and by `loss_mask`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lightning_med.data.sources.bad_rows import BadRows, describe_place, find_fault
from lightning_med.data.sources.cell_values import blank_missing_text

SYSTEM = "system"  # what `unused` receives of a system message
_PATIENT_ROLES = {"user", "human", "patient"}
_DOCTOR_ROLES = {"assistant", "gpt", "doctor", "model"}
_IGNORED_ROLES = {"system", "developer"}  # the system prompt is a setting
_MARKS = ("weight", "train", "training", "loss", "loss_mask")  # 1 or true: learned; 0 or false: not
_UNCLEAR_MARKS = ("mask", "loss_scale")  # 0 may mean that a message is not learned, or that it is not masked
_MEANT_KEYS = {  # what a message may hold beside its text, and is not read
    *("audio", "documents", "function_call", "image", "images", "loss_scale", "mask", "reasoning"),
    *("reasoning_content", "refusal", "thinking", "tool_calls", "tools", "video", "videos"),
}
_EXPECTED = 'Expected: [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}, …]'


class _Message(NamedTuple):
    by_doctor: bool
    text: str
    learned: bool


class _Exchange(NamedTuple):
    question: str | None
    answer: str | None
    learned: bool


def split_exchanges(frame: pd.DataFrame, column: str, path: Path, bad: BadRows, unused: set[str]) -> pd.DataFrame:
    """Splits each conversation into exchanges, a patient's turn and the doctor's reply, one per row.

    Consecutive messages of one side are joined. Messages of the doctor before the first question, and of the patient
    after the last reply, are left out. A conversation without an exchange gives one row of nulls.

    Args:
        frame: Has a column of messages, which are lists of mappings with `role` and `content` (or `from` and `value`)
            or such lists as JSON text, and columns `row` and `line`. Content is a text or a list of parts with texts.
        column: The name of the column of messages.
        path: The file, for messages to the user.
        bad: Takes conversations that cannot be read.
        unused: Receives keys of messages that are not read though they look meant, and `SYSTEM`.

    Returns:
        A frame with `question`, `answer`, `learned`, `turn` (0-based within a conversation) and the other columns of
        `frame`.
    """
    rows: list[tuple[Any, ...]] = []
    others = [name for name in frame.columns if name != column]
    for cell, rest in zip(frame[column], frame[others].itertuples(index=False, name=None), strict=True):
        place = describe_place(path, rest[others.index("row")], rest[others.index("line")])
        try:
            exchanges = list(_pair_turns(_read_messages(cell, unused)))
        except ValueError as error:
            bad.add(place, str(error), _EXPECTED)
            continue
        if fault := find_fault((text for exchange in exchanges for text in exchange[:2]), lists=True):
            bad.add(place, *fault)
            continue
        exchanges = exchanges or [_Exchange(None, None, True)]
        rows += [(*exchange, turn, *rest) for turn, exchange in enumerate(exchanges)]
    return pd.DataFrame(rows, columns=["question", "answer", "learned", "turn", *others], dtype=object)


def name_messages(cell: Any) -> str:
    """Returns what kind of messages a cell holds, judged by their keys alone; empty where it holds none."""
    if isinstance(cell, str):
        if cell.strip()[:1] != "[":
            return ""
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return ""
    if not isinstance(cell, list) or not cell or not all(isinstance(message, dict) for message in cell):
        return ""
    kinds = {"chat messages (role, content)": {"role", "content"}, "ShareGPT messages (from, value)": {"from", "value"}}
    return next((kind for kind, keys in kinds.items() if all(keys <= message.keys() for message in cell)), "")


def _read_messages(cell: Any, unused: set[str]) -> Iterator[_Message]:
    """Yields the messages of a conversation.

    Raises:
        ValueError: One cannot be read; says why.
    """
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
        if role not in _PATIENT_ROLES | _DOCTOR_ROLES | _IGNORED_ROLES:
            # Without the role: it may be a person's name.
            raise ValueError("a message has a role that is neither user nor assistant")
        unused.update(key for key in _MEANT_KEYS.intersection(message) if message[key] is not None)
        learned = _read_marks(message)
        if role in _DOCTOR_ROLES and (names := [name for name in _UNCLEAR_MARKS if message.get(name) in (0, "0")]):
            raise ValueError(f"a message's {names[0]} is 0, which may mean more than one thing; say weight: 0 or 1")
        if learned and role not in _DOCTOR_ROLES:
            raise ValueError("a message that is not the doctor's is marked as one to learn")
        if role in _IGNORED_ROLES:
            unused.add(SYSTEM)
            continue
        yield _Message(role in _DOCTOR_ROLES, _read_text(message), learned is not False)


def _read_marks(message: dict[str, Any]) -> bool | None:
    """Returns whether a message is marked as one to learn, `None` where it has no mark."""
    if message.get("train_detail"):
        raise ValueError("a message has a train_detail, and no part of a turn can be left out of what is learned")
    marks = [(name, message[name]) for name in _MARKS if message.get(name) is not None]
    for name, value in marks:
        if isinstance(value, float) and value != value:  # what pandas writes where there is none
            continue
        if not isinstance(value, (bool, int, float)) or value not in (0, 1):
            raise ValueError(f"a message's {name} is neither 0 nor 1, and no turn is learned in part")
    values = {bool(value) for _, value in marks if value == value}
    if len(values) > 1:
        raise ValueError(f"a message's {' and '.join(name for name, _ in marks)} contradict each other")
    return values.pop() if values else None


def _read_text(message: dict[str, Any]) -> str:
    content = message.get("content")
    content = message.get("value") if content is None else content
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise ValueError("a message's content is not text")
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise ValueError("a message's content has a part that is not text")
        texts.append(part["text"])
    return "".join(texts)  # as the exported chat template joins them


def _pair_turns(messages: Iterator[_Message]) -> Iterator[_Exchange]:
    question: list[str] = []
    answer: list[_Message] = []
    for message in messages:
        if message.by_doctor and question:
            answer.append(message)
        elif not message.by_doctor:
            if answer:
                yield _make_exchange(question, answer)
                question, answer = [], []
            question.append(message.text)
    if answer:
        yield _make_exchange(question, answer)


def _make_exchange(question: list[str], answer: list[_Message]) -> _Exchange:
    learned = {message.learned for message in answer}
    if len(learned) > 1:
        raise ValueError("a reply of several messages is to be learned in part")
    question_text, answer_text = "\n".join(question), "\n".join(message.text for message in answer)
    return _Exchange(blank_missing_text(question_text), blank_missing_text(answer_text), learned.pop())
