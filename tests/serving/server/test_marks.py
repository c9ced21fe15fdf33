"""Marks on answers: what is stored of them, and where."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lightning_med.serving.server.marks import SCHEMA_VERSION, Marks
from lightning_med.utils.errors import InputError


def test_a_mark_is_stored_without_private_data_replaced_and_withdrawn(tmp_path: Path) -> None:
    marks = Marks(tmp_path / "marks.sqlite")
    marks.mark("one", "I am John Smith, call 020 7946 0958. '); DROP TABLE marks; --", "Dear John, rest.", "tiny", True)
    [mark] = marks.list_marks()
    assert "Smith" not in mark.question
    assert "[PHONE]" in mark.question
    assert mark.question.endswith("'); DROP TABLE marks; --")
    assert "John" not in mark.answer
    assert (mark.key, mark.model, mark.is_good) == ("one", "tiny", True)
    at = datetime.fromisoformat(mark.at)
    assert at.utcoffset() == timedelta(0)
    assert datetime.now(UTC) - at < timedelta(minutes=1)
    marks.mark("one", "a", "b\ud800", "tiny", False)
    assert [(mark.key, mark.answer, mark.is_good) for mark in marks.list_marks()] == [("one", "b?", False)]
    marks.withdraw("one")
    marks.withdraw("unknown")
    assert marks.list_marks() == []


def test_a_file_is_private_and_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "marks.sqlite"
    path.touch(mode=0o644)
    first = Marks(path)
    first.mark("one", "a question", "an answer", "tiny", True)
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    first.close()
    second = Marks(path)
    second.mark("two", "é\n", "an answer", "tiny", False)
    rows = [json.loads(line) for line in second.format().splitlines()]
    assert sorted((row["key"], row["question"], row["is_good"]) for row in rows) == [
        ("one", "a question", True),
        ("two", "é\n", False),
    ]
    second.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_threads_may_mark_at_once(tmp_path: Path) -> None:
    marks = Marks(tmp_path / "marks.sqlite")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: marks.mark(str(number), "a", "b", "tiny", True), range(40)))
    assert len(marks.list_marks()) == 40


def test_a_path_that_cannot_hold_marks_is_refused_at_once(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no database at all, but long enough to have a header" * 4)
    other, newer = tmp_path / "other.sqlite", tmp_path / "newer.sqlite"
    for path, command in (
        (other, "CREATE TABLE things (name)"),
        (newer, f"PRAGMA user_version = {SCHEMA_VERSION + 1}"),
    ):
        with sqlite3.connect(path) as connection:
            connection.execute(command)
    for path in (tmp_path / "missing" / "marks.sqlite", tmp_path, text, other, newer):
        with pytest.raises(InputError, match=path.name):
            Marks(path)
