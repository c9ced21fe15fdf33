"""Tables with private data and with conversations, and processes that are ended with the test."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import consultation
from tests.data.preparation.helpers import write
from tests.data.preparation.processes import of_session


@pytest.fixture
def private_rows(tmp_path: Path) -> Path:
    """Consultations with a patient's e-mail address, phone, card and name in every place that a report may quote."""
    rows = [consultation(number) for number in range(60)]
    rows += [
        (f"{question} Write  to jane.roe@example.org or call 415-555-2671.", f"{answer} Thank you, Jane Roe.")
        for question, answer in map(consultation, range(60, 70))
    ]
    rows += [
        (f"My name is Jane Roe. {question}", f"Call (415) 555-2671 now, or pay with 4111 1111 1111 1111. {answer}")
        for question, answer in map(consultation, range(70, 80))
    ]
    rows += [(asked, f"Mail jane.roe@example.org: {answer}") for asked, answer in map(consultation, range(80, 90))]
    rows += [
        (consultation(90)[0], "Mail jane.roe@example.org"),  # too short
        (consultation(91)[0], "Rest, sleep well, and write to jane.roe@example.org or"),  # cut
        (consultation(92)[0], "Rest &amp; sleep.<br>Write to <b>jane.roe@example.org</b> &amp; call 415-555-2671."),
        (consultation(93)[0], "Rest for some days, and write to jane.roe&#64;example.org if it hurts."),
        (consultation(94)[0], "Rest for some days,\u200b and write to jane.roe&#64;example.org if it hurts."),
        (consultation(95)[0], "Rest for some days, and call 415\u200b-555-2671 if it hurts."),
    ]
    return write(tmp_path / "private.csv", rows)


@pytest.fixture
def chats_and_tables(private_rows: Path, consultations: Callable[..., Path], tmp_path: Path) -> list[Any]:
    """Three sources: a table with private data, conversations of several turns with ten bad rows, another table."""
    with (tmp_path / "chats.jsonl").open("w", encoding="utf-8") as file:
        for number in range(0, 300, 3):
            turns = map(consultation, range(300 + number, 301 + number + number % 4))
            messages = [
                {"role": role, "content": text}
                for pair in turns
                for role, text in zip(("user", "assistant"), pair, strict=True)
            ]
            row = {"chat": messages if number % 10 else "damaged", "patient": f"{number % 30}"}
            file.write(json.dumps(row) + "\n")
    chats = {"path": str(tmp_path / "chats.jsonl"), "messages_column": "chat", "group_column": "patient", "weight": 2}
    return [str(private_rows), chats, str(consultations(40, first=700))]


@pytest.fixture
def begin() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process as the leader of a session; at the end all processes of the session are killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*command: object, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen([*map(str, command)], text=True, start_new_session=True, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        for left in of_session(process.pid):
            left.kill()
        process.communicate()
