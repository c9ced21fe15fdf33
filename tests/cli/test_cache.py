"""`lightning-med cache` shows what is kept, and deletes what nobody uses."""

from __future__ import annotations

import errno
import gc
import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from lightning_med.data.preparation.cache import entries
from lightning_med.data.preparation.cache.cache_folder import CLEAN_ROWS, DIGESTS, GGUF, get_lock_path
from lightning_med.data.preparation.cache.entries import measure_size
from lightning_med.data.preparation.cache.marks import Mark
from lightning_med.data.preparation.pipeline import Prepared, prepare
from tests import tiny
from tests.data.preparation.helpers import left_in, recipe, rows_left_in

Tables = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_other_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def prepared(cache: Path, consultations: Tables) -> Prepared:
    """Data in the cache, beside a GGUF file, what a killed process left, and things that are not ours."""
    source = consultations(rows=30)
    os.utime(source, (1, 1))  # else its digest is not remembered
    data = prepare(recipe(source))
    (cache / GGUF).mkdir()
    (cache / GGUF / "0123456789abcdef.q8_0.gguf").write_bytes(b"x" * 5000)
    (cache / f".{'a' * 24}-{'b' * 16}").mkdir()
    (cache / "mine").mkdir()
    (cache / "mine" / "report.json").write_text("{}")
    (cache / "notes.txt").write_text("mine")
    return data


def show(*options: str) -> dict:
    status, out, err = tiny.command("cache", "--json", *options)
    assert status == 0, err
    assert len(out.splitlines()) == 1
    return json.loads(out)


def kinds(*options: str) -> list[str]:
    return [entry["kind"] for entry in show(*options)["entries"]]


def test_all_that_is_kept_is_shown_with_its_size_and_nothing_else(prepared: Prepared, cache: Path) -> None:
    content = show()
    assert [entry["kind"] for entry in content["entries"]] == ["rows", "tokens", "gguf", "digests", "leftovers"]
    rows, tokens, gguf, digests, _ = content["entries"]
    assert rows["what"] == tokens["what"] == "consultations.csv: 30 rows"
    assert Path(tokens["path"]) == prepared.folder
    assert tokens["bytes"] == sum(file.stat().st_size for file in prepared.folder.iterdir())
    assert gguf["bytes"] == 5000
    assert Path(digests["path"]) == cache / DIGESTS
    assert content["bytes"] == sum(entry["bytes"] for entry in content["entries"])


def test_people_see_a_table_and_the_caches_of_others(prepared: Prepared, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "kaggle").mkdir()
    (tmp_path / "kaggle" / "set.csv").write_bytes(b"x" * 2_000_000)
    status, out, _ = tiny.command("cache")
    assert status == 0
    assert "consultations.csv: 30 rows" in out
    assert "5.0 kB" in out
    assert f"{tmp_path / 'kaggle'}, 2.0 MB" in out
    assert tiny.command("cache", "--cache_dir", tmp_path / "none")[1].splitlines()[0].endswith("nothing is kept there.")


def test_clearing_deletes_what_nobody_uses_and_leaves_what_is_not_ours(prepared: Prepared, cache: Path) -> None:
    content = show("--clear", "all", "--yes")
    assert content["in_use"] == [str(prepared.folder)]  # as long as the data is at hand in a process
    assert prepared.store("train")  # whole
    assert left_in(cache) == sorted([GGUF, "mine", "notes.txt", prepared.folder.name])
    assert not rows_left_in(cache)
    del prepared


def test_data_that_is_used_no_longer_is_deleted_and_made_again(
    cache: Path, consultations: Tables, tmp_path: Path
) -> None:
    wanted = recipe(consultations(rows=30))
    first = prepare(wanted)
    name = first.folder.name
    del first
    gc.collect()
    content = show("--clear", "data", "--yes")
    assert [Path(path).name for path in content["deleted"]][1:] == [name]
    assert not left_in(cache)
    again = prepare(wanted)
    assert (again.folder.name, again.cached) == (name, False)


def test_data_that_is_being_made_is_left(prepared: Prepared, cache: Path) -> None:
    folder = cache / CLEAN_ROWS / rows_left_in(cache)[0]
    half = cache / f".{'a' * 24}-{'b' * 16}"
    with FileLock(get_lock_path(folder)), FileLock(get_lock_path(cache / ("a" * 24))):
        assert show("--clear", "rows", "--yes")["in_use"] == [str(folder)]
        assert str(half) in show("--clear", "data", "--yes")["in_use"]
    assert half.is_dir()


def test_a_file_that_a_server_reads_is_left(prepared: Prepared, cache: Path) -> None:
    file = cache / GGUF / "0123456789abcdef.q8_0.gguf"
    with Mark(file):
        assert show("--clear", "gguf", "--yes")["in_use"] == [str(file)]
    assert show("--clear", "gguf", "--yes")["deleted"] == [str(file)]
    assert not file.exists()


def test_only_old_entries_are_cleared_and_use_makes_them_young(prepared: Prepared, cache: Path) -> None:
    old = time.time() - 10 * 86_400
    for path in (prepared.folder, cache / GGUF / "0123456789abcdef.q8_0.gguf"):
        os.utime(path, (old, old))
    assert kinds("--older_than", "9") == ["tokens", "gguf"]
    assert kinds("--older_than", "11") == []
    with Mark(prepared.folder):
        assert kinds("--older_than", "9") == ["gguf"]
    assert len(show("--clear", "all", "--older_than", "9", "--yes")["deleted"]) == 1


def test_what_the_options_leave_out_is_not_said_to_be_missing(prepared: Prepared, cache: Path, tmp_path: Path) -> None:
    (cache / GGUF / "0123456789abcdef.q8_0.gguf").unlink()
    for options, what in (
        (("--older_than", "30"), "nothing is kept there that was last used more than 30 days ago."),
        (("--clear", "gguf", "--yes"), "nothing of the kind gguf is kept there."),
    ):
        assert tiny.command("cache", *options)[1].splitlines()[0] == f"{cache}: {what}"
    assert show("--clear", "gguf", "--yes")["deleted"] == []


def test_what_is_used_while_a_person_is_asked_is_left(
    prepared: Prepared, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cache / GGUF / "0123456789abcdef.q8_0.gguf"
    os.utime(file, (1, 1))

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def readline(self, size: int = -1) -> str:
            Mark(file).close()
            return "yes\n"

    monkeypatch.setattr("sys.stdin", Terminal())
    assert show("--clear", "gguf", "--older_than", "1")["in_use"] == [str(file)]
    assert file.exists()


def test_what_vanishes_while_it_is_listed_is_left_out(
    prepared: Prepared, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(path: Path) -> int:
        if path.suffix == ".gguf":
            path.unlink()
        return measure_size(path)

    monkeypatch.setattr(entries, "measure_size", measure)
    assert kinds() == ["rows", "tokens", "digests", "leftovers"]


def test_a_folder_that_cannot_be_read_is_named(
    prepared: Prepared, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> list[Path]:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    status, _, err = tiny.command("cache")
    assert (status, len(err.splitlines())) == (2, 2)
    assert f"{cache / CLEAN_ROWS} cannot be read: Permission denied." in err


@pytest.mark.parametrize(("answer", "is_deleted"), [("y\n", True), ("\n", False), ("no\n", False), ("", False)])
def test_a_person_is_asked(
    prepared: Prepared, cache: Path, monkeypatch: pytest.MonkeyPatch, answer: str, is_deleted: bool
) -> None:
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    status, _, err = tiny.command("cache", "--clear", "gguf")
    assert status == 0
    assert "Delete 1 entry, 5.0 kB? [y/N]" in err
    assert (not list((cache / GGUF).iterdir())) == is_deleted


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--clear", "all"], "there is no terminal"),
        (["--yes"], "--yes belongs to --clear"),
        (["--older_than", "-1"], "--older_than"),
        (["--clear", "everything"], "--clear cannot be everything"),
    ],
)
def test_what_cannot_be_meant_is_refused(prepared: Prepared, cache: Path, options: list[str], named: str) -> None:
    status, out, err = tiny.command("cache", *options)
    assert (status, out, len(err.splitlines())) == (2, "", 2)
    assert named in err
    assert (cache / GGUF).is_dir()


def test_a_file_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, _, err = tiny.command("cache", "--cache_dir", tmp_path / "file")
    assert status == 2
    assert f"The cache {tmp_path / 'file'} is no folder." in err
