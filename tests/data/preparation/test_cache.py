"""The cache: made once, atomically; and what goes wrong."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lightning_med.data.preparation import pipeline, token_pass
from lightning_med.data.preparation.cache import marks
from lightning_med.data.preparation.cache.entries import delete_entry, list_entries
from lightning_med.data.preparation.cache.marks import Mark, claim_entry
from lightning_med.data.preparation.clean_rows import CleanRowWriter
from lightning_med.data.preparation.pipeline import prepare
from lightning_med.data.preparation.token_store import TokenWriter
from lightning_med.tokenization.tokenizer import store_tokenizer
from lightning_med.utils.errors import InputError
from tests.data.preparation.helpers import everything, left_in, recipe, rows_left_in


def test_second_time_it_is_found(cache: Path, consultations: Callable[..., Path]) -> None:
    first = prepare(recipe(consultations()))
    assert not first.cached
    assert first.folder == cache / first.fingerprint
    assert left_in(cache) == [first.fingerprint]
    again = prepare(recipe(consultations()))
    assert again.cached
    assert (again.folder, again.report) == (first.folder, first.report)
    assert store_tokenizer(again.tokenizer) == store_tokenizer(first.tokenizer)


@pytest.mark.parametrize("level", ["rows", "tokens", "found"])
def test_what_is_cleared_before_it_is_marked_is_made_again(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    wanted = recipe(consultations(rows=30))
    if level == "found":
        prepare(wanted)
        gc.collect()  # it is no longer in use
    kinds = ["rows" if level == "rows" else "tokens"]

    def clear_and_mark(folder: Path) -> Mark:
        for entry in list_entries(cache):
            if entry.path == folder and entry.kind in kinds:
                kinds.clear()  # once
                assert delete_entry(entry)
        return Mark(folder)

    monkeypatch.setattr(pipeline, "Mark", clear_and_mark)
    prepared = prepare(wanted)
    assert not kinds
    assert len(prepared.store("train")) > 0
    assert not any(delete_entry(entry) for entry in list_entries(cache) if entry.path == prepared.folder)


def test_a_deletion_that_has_begun_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "entry"
    folder.mkdir()
    (folder / "file").touch()
    deletion = ExitStack()
    assert deletion.enter_context(claim_entry(folder, None))
    flock = marks.fcntl.flock

    def wait(file: Any, operation: int) -> None:
        if operation == marks.fcntl.LOCK_SH:  # it would wait here, and the deletion ends
            shutil.rmtree(folder)
            deletion.close()
        flock(file, operation)

    monkeypatch.setattr(marks.fcntl, "flock", wait)
    assert not Mark(folder).is_there


def test_a_source_that_changes_while_it_is_read_is_an_error(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = consultations()
    clean_rows = pipeline.clean_rows

    def meddled(*args: Any) -> None:
        clean_rows(*args)
        source.write_bytes(source.read_bytes().replace(b"a", b"o"))

    monkeypatch.setattr(pipeline, "clean_rows", meddled)
    with pytest.raises(InputError, match="changed while it was read"):
        prepare(recipe(source))
    assert left_in(cache) == rows_left_in(cache) == []


def test_a_cache_has_the_usual_rights_and_the_umask_is_left_alone(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache may be shared; and to set the umask, even for an instant, changes the files of other threads."""
    before = os.umask(0o022)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", lambda mask: pytest.fail(f"os.umask({mask:#o}) is called"))
            prepare(recipe(consultations()))
    finally:
        os.umask(before)
    made = [path for path in cache.rglob("*") if path.suffix != ".lock"]
    assert len(made) > 10
    assert {path.stat().st_mode & 0o777 for path in made} == {0o644, 0o755}


def test_made_again_it_is_equal(tmp_path: Path, consultations: Callable[..., Path]) -> None:
    one, other = (prepare(recipe(consultations()), str(tmp_path / name)) for name in ("one", "other"))
    assert not other.cached
    assert one.fingerprint == other.fingerprint
    assert everything(one) == everything(other)
    assert one.report == other.report
    assert store_tokenizer(one.tokenizer) == store_tokenizer(other.tokenizer)


@pytest.mark.parametrize(
    "change", [{"system_prompt": "Be very kind. " * 60}, {"answer_column": "reply"}, {"test_fraction": 0.0}]
)
def test_failed_preparation_leaves_nothing(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, change: dict
) -> None:
    if "test_fraction" in change:  # the last step of all fails, as on a full disk
        monkeypatch.setattr(
            token_pass, "store_tokenizer", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
        )
    with pytest.raises((InputError, OSError)):
        prepare(recipe(consultations(), **change))
    assert left_in(cache) == []
    assert len(rows_left_in(cache)) == ("answer_column" not in change)  # complete where cleaning did not fail
    assert not any(name.startswith(".") for name in rows_left_in(cache))
    monkeypatch.undo()
    assert not prepare(recipe(consultations()), str(cache)).cached


@pytest.mark.parametrize(
    "method", [(CleanRowWriter, "add_texts"), (CleanRowWriter, "write_report"), (TokenWriter, "add")]
)
def test_interrupted_preparation_leaves_nothing(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, method: tuple[type, str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(*method, interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(recipe(consultations()))
    assert left_in(cache) == []
    assert len(rows_left_in(cache)) == (method[0] is TokenWriter)
    monkeypatch.undo()
    assert not prepare(recipe(consultations()), str(cache)).cached
    assert [name.startswith(".") for name in (*left_in(cache), *rows_left_in(cache))] == [False, False]


def test_too_few_rows(cache: Path, consultations: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="2 different questions"):
        prepare(recipe(consultations(2)))
    assert prepare(recipe(consultations(3))).report["splits"] == {"train": 1, "validation": 1, "test": 1}


def test_cache_that_is_a_file(tmp_path: Path, consultations: Callable[..., Path]) -> None:
    (tmp_path / "taken").write_text("")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "cache"):
        with pytest.raises(InputError) as caught:
            prepare(recipe(consultations()), str(folder))
        assert str(folder) in caught.value.what
        assert "--data.cache_dir" in caught.value.hint


def test_file_that_may_not_be_read(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = consultations(), Path.open

    def guarded(self: Path, *arguments: Any, **options: Any) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", guarded)
    with pytest.raises(InputError) as caught:
        prepare(recipe(path))
    assert str(path) in caught.value.what


@pytest.mark.parametrize("damage", ["cut", "gone", "no UTF-8"])
def test_damaged_report_names_the_folder_to_delete(
    cache: Path, consultations: Callable[..., Path], damage: str
) -> None:
    folder = prepare(recipe(consultations())).folder
    path = folder / "report.json"
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"\xff" + content)
    with pytest.raises(InputError) as caught:
        prepare(recipe(consultations()))
    assert str(folder) in caught.value.what
    shutil.rmtree(folder)  # as it says
    assert not prepare(recipe(consultations())).cached


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_damaged_tokens_name_the_folder_to_delete(cache: Path, consultations: Callable[..., Path], kept: float) -> None:
    prepared = prepare(recipe(consultations()))
    tokens = prepared.folder / "train.arrow"
    tokens.write_bytes(tokens.read_bytes()[: int(kept * tokens.stat().st_size)])
    with pytest.raises(InputError, match=prepared.fingerprint):
        prepared.store("train")


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_tokenizer_names_the_folder_to_delete(
    cache: Path, consultations: Callable[..., Path], damage: str
) -> None:
    folder = prepare(recipe(consultations())).folder
    content = (folder / "tokenizer.txt").read_bytes()
    (folder / "tokenizer.txt").unlink()
    if damage == "cut":
        (folder / "tokenizer.txt").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError) as caught:
        prepare(recipe(consultations()))
    assert str(folder) in caught.value.what


def test_an_odd_name_in_the_cache_is_passed_over(cache: Path, consultations: Callable[..., Path]) -> None:
    (cache / "clean_rows").mkdir(parents=True)
    (cache / ".-x").write_text("")
    (cache / "clean_rows" / ".-x").write_text("")
    assert not prepare(recipe(consultations())).cached
    assert (cache / ".-x").exists()
