"""A JSON Lines file that is written row by row, in any order, and gone on with after an interruption.

Until all rows are there they lie in a hidden file beside it, one for each process. Its first line says what the rows
are of, each further line is `[key, row]`; so nothing is ever taken for a complete file, and no other run's rows are
mixed in. At the end the rows are sorted into the file itself, which appears complete or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

from lightning_med.utils.errors import InputError, RunError
from lightning_med.utils.files import write_atomically

Row = dict[str, Any]
Identity = Mapping[str, str]  # what the rows depend on, by a name that a message can say


def check_unwritten(output: Path, overwrite: bool, option: str = "--overwrite") -> None:
    """Checks that a complete file is not replaced unasked.

    Args:
        output: The file to write.
        overwrite: It may be replaced.
        option: That allows it, for the message.

    Raises:
        InputError: It is there already, or it is a folder.
    """
    if output.is_dir():
        raise InputError(f"--output {output} is a folder.", "Name a file.")
    if output.exists() and not overwrite:
        raise InputError(f"{output} is there already, complete.", f"Replace it: {option}; or --output ANOTHER_FILE")


def get_part_path(output: Path, rank: int = 0) -> Path:
    """Returns the file that holds a process's rows until `output` is complete."""
    return output.with_name(f".{output.name}.part" + (f"-{rank}" if rank else ""))


def list_parts(output: Path) -> list[Path]:
    """Returns the files with the rows of `output` so far, of all processes."""
    first = get_part_path(output)
    others = [path for path in output.parent.glob(".*") if path.name.startswith(f"{first.name}-")]
    return [path for path in (first, *sorted(others)) if path.is_file()]


class PartFile:
    """The rows of a file that is not complete yet.

    Args:
        output: The file that will hold all rows.
        identity: What the rows depend on; must be the same to go on with what is there.
        overwrite: Rows of another identity are discarded.
        option: The option that sets `overwrite`, for messages.
        rank: This process's number.
        barrier: Waits for the other processes.

    Attributes:
        path: The file that this process writes.
        written: Keys of the rows that are there, those of all processes.

    Raises:
        InputError: The rows so far are of another identity, or another process is writing.
    """

    def __init__(
        self,
        output: Path,
        identity: Identity,
        overwrite: bool = False,
        option: str = "--overwrite",
        rank: int = 0,
        barrier: Callable[[], object] = lambda: None,
    ) -> None:
        self.output, self.path = output, get_part_path(output, rank)
        self._identity = dict(identity)
        foreign = [path for path in list_parts(output) if not self._is_ours(path, overwrite, option)]
        barrier()
        if rank == 0:
            for path in foreign:
                with path.open("rb") as file:
                    _lock(file, path)
                    path.unlink()
        barrier()
        output.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab")
        try:
            _lock(self._file, self.path)
            self._file.seek(self._file.truncate(_find_end(self.path)))  # a row may be cut in its middle
            self.written = {key for part in list_parts(output) for key, *_ in _read_rows(part)}
        except BaseException:
            self._file.close()
            raise
        barrier()

    def _is_ours(self, path: Path, overwrite: bool, option: str) -> bool:
        """Whether a file's rows may be gone on with.

        Raises:
            InputError: They may not, and may not be discarded.
        """
        there = _read_identity(path)
        if there == self._identity:
            return True
        nothing = path.stat().st_size == 0 or (there is not None and next(_read_rows(path), None) is None)
        if not overwrite and not nothing:
            before, here = there or {}, self._identity
            name = next((name for name in here if before.get(name) != here[name]), "kind of row")
            values = f"{before.get(name, 'unknown')[:60]} there, {here.get(name, 'unknown')[:60]} here"
            raise InputError(
                f"{path} has rows of an interrupted run with another {name}: {values}.",
                f"Give what it began with to go on; {option} discards them; or name another --output",
            )
        return False

    def append(self, rows: Mapping[int, Row]) -> None:
        """Adds rows by key; they are on the disk when it returns."""
        lines = [] if self._file.tell() else [self._identity]
        self._file.write(b"".join(map(_encode, [*lines, *([key, row] for key, row in rows.items())])))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.written |= rows.keys()

    def read(self) -> Iterator[tuple[int, Row]]:
        """Yields key and row of all rows so far, those of all processes, in the order in which they were written."""
        for part in list_parts(self.output):
            for key, row, *_ in _read_rows(part):
                yield key, row

    def close(self) -> None:
        """Leaves the rows for a later call; a file without rows is removed."""
        empty = not self._file.closed and self._file.tell() == 0
        self._file.close()
        if empty:
            self.path.unlink(missing_ok=True)

    def complete(self, expected: int | None = None, order: Callable[[int, Row], Any] = lambda key, row: key) -> int:
        """Writes all rows into the file itself and removes those of all processes here. One process calls it.

        Args:
            expected: Rows that must be there.
            order: Returns what the rows are sorted by, given key and row.

        Returns:
            The number of rows.

        Raises:
            RunError: Rows are missing.
        """
        parts = list_parts(self.output)
        places: dict[int, tuple[Any, int, int, int]] = {}  # by key: what it is sorted by, key, part, start
        for number, part in enumerate(parts):
            places |= {key: (order(key, row), key, number, start) for key, row, start, _ in _read_rows(part)}
        if expected is not None and len(places) != expected:
            raise RunError(
                f"{len(places):,} of {expected:,} rows lie beside {self.output}.",
                "All processes must write into one folder; run the command again to add what is missing.",
            )
        with write_atomically(self.output) as temporary, temporary.open("wb") as target, ExitStack() as stack:
            files = [stack.enter_context(part.open("rb")) for part in parts]
            for *_, number, start in sorted(places.values()):
                files[number].seek(start)
                target.write(_encode(json.loads(files[number].readline())[1]))
        self._file.close()
        for part in parts:
            part.unlink(missing_ok=True)
        return len(places)


def _encode(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _read_lines(path: Path) -> Iterator[tuple[Any, int, int]]:
    """Yields the value of each line with its start and end, up to the first line that is not whole."""
    start = 0
    with path.open("rb") as file, suppress(ValueError, RecursionError):
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield json.loads(line.decode()), start, start + len(line)
            start += len(line)


def _read_identity(path: Path) -> dict[str, str] | None:
    """Returns what a file's rows are of; `None` where it does not say."""
    value = next(_read_lines(path), (None, 0, 0))[0]
    return value if isinstance(value, dict) else None


def _read_rows(path: Path) -> Iterator[tuple[int, Row, int, int]]:
    """Yields key, row, start and end of each row of a file, up to the first that is not whole."""
    for number, (value, start, end) in enumerate(_read_lines(path)):
        if number == 0 and isinstance(value, dict):
            continue
        if not (number and isinstance(value, list) and len(value) == 2 and isinstance(value[1], dict)):
            return
        yield value[0], value[1], start, end


def _find_end(path: Path) -> int:
    """Returns the end of the last whole row; 0 where there is none."""
    end = 0
    for *_, end in _read_rows(path):  # noqa: B007
        pass
    return end


def _lock(file: BinaryIO, path: Path) -> None:
    """Keeps another process from writing the same file, until this one closes it or ends.

    Raises:
        InputError: Another process is writing it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"{path} is being written by another process.", "Wait for it, or name another file: --output FILE"
        ) from error
    except OSError:  # a file system without locks
        return
