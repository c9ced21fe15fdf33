"""Marks that people give to answers, good or bad, in an SQLite file. Private data is replaced before it is stored."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from lightning_med.privacy.mask import mask
from lightning_med.utils.errors import InputError

SCHEMA_VERSION = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS marks (
    key TEXT PRIMARY KEY, at TEXT NOT NULL, model TEXT NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL,
    is_good INTEGER NOT NULL
)"""
_STORE = "INSERT OR REPLACE INTO marks (key, at, model, question, answer, is_good) VALUES (?, ?, ?, ?, ?, ?)"
_LIST = "SELECT key, at, model, question, answer, is_good FROM marks ORDER BY at, key"


@dataclass(frozen=True)
class Mark:
    """A person's mark.

    Attributes:
        key: Of the answer.
        at: When it was given, in UTC (ISO 8601).
        model: The name of the model.
        question: Without private data.
        answer: As it was shown, without private data.
        is_good: Whether the answer was found good.
    """

    key: str
    at: str
    model: str
    question: str
    answer: str
    is_good: bool


class Marks:
    """The marks in a file; safe to use from several threads. The file is made at once, readable by its owner only.

    Args:
        path: The file. An existing one is continued.

    Raises:
        InputError: The file cannot be written, or is no file of marks.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._connection = sqlite3.connect(path, check_same_thread=False)
            self._prepare(path)
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"{path} cannot hold marks: {reason}.", "Name a new file in a folder of yours.") from error

    def _prepare(self, path: Path) -> None:
        with self._transaction() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            has_tables = connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
            if version != SCHEMA_VERSION and (version or has_tables):
                raise InputError(
                    f"{path} is a database of another kind or release (version {version}).", "Name another file."
                )
            path.chmod(0o600)  # an older file may be open to others; what SQLite makes beside it copies the mode
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")  # takes no parameters
        self._connection.execute("PRAGMA journal_mode = WAL")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._connection:
            yield self._connection

    def mark(self, key: str, question: str, answer: str, model: str, is_good: bool) -> None:
        """Stores a mark; a second one with the same key replaces the first.

        Args:
            key: Of the answer.
            question: The person's words.
            answer: As it was shown.
            model: The name of the model.
            is_good: Whether the answer was found good.
        """
        at = datetime.now(UTC).isoformat(timespec="seconds")
        row = (key, at, model, _remove_private(question), _remove_private(answer), is_good)
        with self._transaction() as connection:
            connection.execute(_STORE, row)

    def withdraw(self, key: str) -> None:
        """Removes the mark of an answer, if it has one."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM marks WHERE key = ?", (key,))

    def list_marks(self) -> list[Mark]:
        """Returns all marks, the oldest first."""
        with self._transaction() as connection:
            rows = connection.execute(_LIST).fetchall()
        return [Mark(key, at, model, asked, said, bool(good)) for key, at, model, asked, said, good in rows]

    def format(self) -> str:
        """Returns all marks as JSON Lines."""
        return "".join(json.dumps(asdict(mark), ensure_ascii=False) + "\n" for mark in self.list_marks())

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()


def _remove_private(text: str) -> str:
    """The text with placeholders for private data, and without halves of characters, which SQLite refuses."""
    return mask(text.encode("utf-8", "replace").decode())[0]
