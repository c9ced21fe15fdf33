"""A source is read once, not by every command and rank; but a change of it is noticed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.cache import source_digests
from lightning_med.data.preparation.cache.cache_folder import DIGESTS
from lightning_med.data.preparation.cache.source_digests import SourceDigests
from lightning_med.data.preparation.pipeline import CLEAN_ROWS, prepare
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.utils.errors import InputError
from tests.data.preparation.helpers import recipe, rows_left_in

LONG_AGO = 1_600_000_000


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the tables that are opened, in order."""
    opened, names = Path.open, []

    def spy(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.suffix == ".csv":
            names.append(self.name)
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", spy)
    return names


@pytest.fixture
def old(consultations: Callable[..., Path]) -> Path:
    """A table that was written long ago."""
    path = consultations()
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def load(cache: Path) -> dict[str, Any]:
    return json.loads((cache / DIGESTS).read_text())  # type: ignore[no-any-return]


def test_the_second_preparation_opens_no_source(cache: Path, old: Path, reads: list[str]) -> None:
    first = prepare(recipe(old))
    # Its digest; its header and its rows, each after a look for a pointer of Git LFS; whether it is still the same.
    assert reads == [old.name] * 6
    reads.clear()
    again = prepare(recipe(old))
    assert again.cached
    assert (again.fingerprint, again.report) == (first.fingerprint, first.report)
    assert reads == []


@pytest.mark.parametrize("change", [{"max_length": 120}, {"seed": 1}, {"vocab_size": 300}])
def test_another_encoding_reads_the_content_once(
    cache: Path, old: Path, reads: list[str], change: dict[str, Any]
) -> None:
    """To hash it; what is made is never made by what is remembered alone."""
    prepare(recipe(old))
    reads.clear()
    assert not prepare(recipe(old, **change)).cached
    assert reads == [old.name]


def test_tokens_are_found_without_clean_rows_and_without_reading(cache: Path, old: Path, reads: list[str]) -> None:
    prepare(recipe(old))
    shutil.rmtree(cache / CLEAN_ROWS)
    reads.clear()
    assert prepare(recipe(old)).cached
    assert reads == []


def test_other_cleaning_reads_the_content_before_and_after(cache: Path, old: Path, reads: list[str]) -> None:
    prepare(recipe(old))
    reads.clear()
    assert not prepare(recipe(old, private_data=False)).cached
    assert reads == [old.name] * 6  # as above


def test_every_loader_of_a_second_command_opens_no_source(cache: Path, old: Path, reads: list[str]) -> None:
    def make() -> DialogueDataModule:
        return DialogueDataModule(str(old), "train", 400, max_length=128)

    make().prepare_data()
    reads.clear()
    module = make()
    module.prepare_data()
    module.setup("test")
    assert [len(list(loader)) > 0 for loader in (module.test_dataloader(), module.predict_dataloader())] == [True, True]
    assert [len(module.store(split)) > 0 for split in SPLITS] == [True] * 3
    assert reads == []


@pytest.mark.slow
def test_another_process_opens_no_source(cache: Path, old: Path) -> None:
    """Such as another rank."""
    prepare(recipe(old))
    code = (
        "import sys\n"
        "sys.addaudithook(lambda event, given: event == 'open' and given[0] == sys.argv[1] and sys.exit('opened'))\n"
        "from tests.data.preparation.helpers import recipe\n"
        "from lightning_med.data.preparation.pipeline import prepare\n"
        "print(prepare(recipe(sys.argv[1])).cached)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, old], capture_output=True, text=True, cwd=root)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def replace_in(path: Path, old: bytes, new: bytes) -> None:
    assert len(old) == len(new)
    path.write_bytes(path.read_bytes().replace(old, new))


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"My ear itches badly.,Please see a doctor about your ear soon.\n")
    os.utime(path, (LONG_AGO, LONG_AGO))


def edit(path: Path) -> None:
    replace_in(path, b"left ear", b"left arm")
    os.utime(path, (LONG_AGO + 1, LONG_AGO + 1))


def edit_and_restore_the_time(path: Path) -> None:
    replace_in(path, b"left ear", b"left arm")
    os.utime(path, (LONG_AGO, LONG_AGO))


def put_another_in_its_place(path: Path) -> None:
    other = path.with_suffix(".new")
    shutil.copy(path, other)
    replace_in(other, b"left ear", b"left arm")
    os.utime(other, (LONG_AGO, LONG_AGO))
    other.replace(path)


@pytest.mark.parametrize("change", [append, edit, edit_and_restore_the_time, put_another_in_its_place])
def test_a_change_is_noticed(cache: Path, old: Path, change: Callable[[Path], None]) -> None:
    if change is edit_and_restore_the_time and os.name == "nt":
        pytest.skip("Windows keeps no time of status change")
    first = prepare(recipe(old))
    change(old)
    other = prepare(recipe(old))
    assert not other.cached
    assert other.fingerprint != first.fingerprint
    assert len(rows_left_in(cache)) == 2
    assert prepare(recipe(old)).cached


@pytest.mark.parametrize(("age", "remembered"), [(-60.0, False), (0.0, False), (1.9, False), (2.0, True), (9.0, True)])
def test_a_file_that_was_just_modified_is_read_again(
    tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch, age: float, remembered: bool
) -> None:
    """Another change within two seconds could leave its time as it is."""
    now = LONG_AGO * 10**9
    monkeypatch.setattr(source_digests, "time_ns", lambda: now)
    os.utime(old, ns=(now, now - int(age * 10**9)))
    digests = SourceDigests(tmp_path, [(0, old)])
    content, _ = digests.compute()
    assert digests.recall() == (content if remembered else None)


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = source_digests.file_digest

    def meddled(stream: Any, name: str) -> Any:
        digest_of_file = digest(stream, name)
        append(old)
        return digest_of_file

    digests = SourceDigests(tmp_path, [(0, old)])
    with monkeypatch.context() as patch:
        patch.setattr(source_digests, "file_digest", meddled)
        before = digests.compute()
    assert digests.recall() is None
    assert digests.compute() != before


def test_the_content_decides_where_data_is_prepared(cache: Path, old: Path, tmp_path: Path) -> None:
    """Digests that are wrong lead to nothing that exists, and are corrected."""
    right = prepare(recipe(old), str(tmp_path / "other")).fingerprint
    cache.mkdir()
    shutil.copy(tmp_path / "other" / DIGESTS, cache / DIGESTS)
    known = load(cache)
    (entry,) = known.values()
    digest, entry["digest"] = entry["digest"], "0" * 64
    (cache / DIGESTS).write_text(json.dumps(known))
    assert prepare(recipe(old)).fingerprint == right
    assert [entry["digest"] for entry in load(cache).values()] == [digest]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"PATH": 1}', b'{"PATH": {}}', b'{"PATH": {"identity": null}}']
)
def test_damaged_digests_are_made_again(cache: Path, old: Path, damage: bytes) -> None:
    first = prepare(recipe(old))
    complete = load(cache)
    (cache / DIGESTS).write_bytes(damage.replace(b"PATH", str(old).encode()))
    again = prepare(recipe(old))
    assert again.cached
    assert again.fingerprint == first.fingerprint
    assert load(cache) == complete


def test_digests_of_all_sources_are_kept_until_they_are_gone(
    tmp_path: Path, consultations: Callable[..., Path]
) -> None:
    paths = [consultations(name=name) for name in ("a.csv", "b.csv", "c.csv")]
    for path in paths:
        os.utime(path, (LONG_AGO, LONG_AGO))
    root = tmp_path / "cache"
    root.mkdir()
    for path in paths[:2]:
        SourceDigests(root, [(0, path)]).compute()
    assert sorted(load(root)) == sorted(map(str, paths[:2]))
    paths[0].unlink()
    (root / f".{DIGESTS}-killed").write_text("half")
    SourceDigests(root, [(0, paths[2])]).compute()
    assert sorted(load(root)) == sorted(map(str, paths[1:]))
    assert sorted(path.name for path in root.iterdir() if path.suffix != ".lock") == [DIGESTS]
    assert SourceDigests(root, [(0, paths[1]), (0, paths[2])]).recall() is not None


def test_the_secret_is_of_the_content_and_cannot_be_recalled(tmp_path: Path, old: Path) -> None:
    digests = SourceDigests(tmp_path, [(0, old)])
    content, secret = digests.compute()
    assert digests.compute() == (content, secret)
    assert len(secret) == len(content) == 32
    file_hash = sha256(old.read_bytes())
    remembered = (tmp_path / DIGESTS).read_text()
    assert not any(value in remembered for value in (secret.hex(), file_hash.hexdigest()))
    assert secret not in (file_hash.digest(), sha256(file_hash.hexdigest().encode()).digest(), content)
    append(old)
    assert digests.compute()[1] != secret


def test_a_full_disk_costs_the_memory_of_digests_alone(
    tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(source_digests, "write_text", fail)
    digests = SourceDigests(tmp_path, [(0, old)])
    assert digests.compute() == digests.compute()
    assert digests.recall() is None


def test_a_source_that_changes_while_it_is_cleaned_is_an_error_whatever_is_remembered(
    cache: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_med.data.preparation import pipeline

    prepare(recipe(old))
    clean_rows = pipeline.clean_rows

    def meddled(*given: Any) -> None:
        clean_rows(*given)
        edit_and_restore_the_time(old)

    monkeypatch.setattr(pipeline, "clean_rows", meddled)
    with pytest.raises(InputError, match="changed while it was read"):
        prepare(recipe(old, private_data=False))
