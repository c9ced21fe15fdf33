"""Files that are complete or absent."""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.utils.files import link_atomically, make_temporary_folder, write_atomically, write_text

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))


@given(text=TEXT)
def test_written_text_is_read_back(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    write_text(path, text)
    assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_missing_parent_folders_are_created(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "notes.txt", "text")
    assert (tmp_path / "a" / "b" / "notes.txt").read_text() == "text"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    write_text(path, "old")

    def write() -> None:
        with write_atomically(path) as temporary:
            temporary.write_text("new, but only ha")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_before_the_first_write_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), write_atomically(tmp_path / "notes.txt"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_readers_see_the_old_file_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    write_text(path, "old")
    with write_atomically(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.fixture
def umask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sets a umask and forbids to change it: that would change the permissions of other threads' files."""
    before = os.umask(0o027)
    with monkeypatch.context() as patch:
        patch.setattr(os, "umask", lambda mask: pytest.fail(f"os.umask({mask:#o}) is called"))
        yield
    os.umask(before)


def read_permissions(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_files_have_the_usual_permissions(tmp_path: Path, umask: None) -> None:
    write_text(tmp_path / "notes.txt", "text")
    assert read_permissions(tmp_path / "notes.txt") == 0o640
    link_atomically(tmp_path / "link.txt", tmp_path / "notes.txt")
    assert (tmp_path / "link.txt").read_text() == "text"


def test_a_file_that_was_replaced_has_the_usual_permissions_too(tmp_path: Path, umask: None) -> None:
    with write_atomically(tmp_path / "notes.txt") as temporary:
        handle, other = tempfile.mkstemp(dir=tmp_path)
        os.close(handle)
        os.replace(other, temporary)
        assert read_permissions(temporary) == 0o600
    assert read_permissions(tmp_path / "notes.txt") == 0o640


def test_temporary_folders_have_the_usual_permissions_and_names_of_their_own(tmp_path: Path, umask: None) -> None:
    folders = [make_temporary_folder(tmp_path / "model") for _ in range(3)]
    assert [read_permissions(folder) for folder in folders] == [0o750] * 3
    assert len(set(folders)) == 3
    assert all(folder.parent == tmp_path and folder.name.startswith(".model-") for folder in folders)


def test_another_threads_files_keep_their_permissions(tmp_path: Path, umask: None) -> None:
    stop, seen = threading.Event(), set()

    def create() -> None:
        for number in itertools.count():
            (tmp_path / f"other-{number}").touch()
            seen.add(read_permissions(tmp_path / f"other-{number}"))
            if stop.is_set():
                return

    thread = threading.Thread(target=create)
    thread.start()
    for number in range(50):
        write_text(tmp_path / f"own-{number}", "text")
        make_temporary_folder(tmp_path / f"own-{number}")
    stop.set()
    thread.join()
    assert seen == {0o640}
