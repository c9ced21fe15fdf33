"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.utils.files import write_atomically, write_text

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))


@given(text=TEXT)
def test_what_is_written_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    write_text(path, text)
    assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
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


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    write_text(path, "old")
    with write_atomically(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_files_have_the_usual_rights(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "notes.txt", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "notes.txt").stat().st_mode & 0o777 == 0o640
