"""Git LFS pointers, as `git clone` without Git LFS leaves them in place of large files, wherever a command reads one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.helpers import run_refused, write_small_config

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 538090408\n"


def check(error: str, path: Path) -> None:
    assert f"{path} is a Git LFS pointer, not the file itself" in error
    assert f"git -C {path.parent} lfs pull" in error


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
@pytest.mark.parametrize("in_folder", [False, True])
def test_a_table(folder: Path, tmp_path: Path, suffix: str, in_folder: bool) -> None:
    path = tmp_path / "tables" / f"notes{suffix}"
    path.parent.mkdir()
    path.write_text(POINTER)
    config = write_small_config(folder, tmp_path)
    source = path.parent if in_folder else path
    words = ["--config", config, "--data.source", source, "--data.cache_dir", folder / "pointers"]
    check(run_refused("prepare", *words, cwd=tmp_path), path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_tokenizer(folder: Path, tmp_path: Path, name: str) -> None:
    place = shutil.copytree(tiny.finished_export(folder), tmp_path / "base")
    (place / name).write_text(POINTER)
    config = write_small_config(folder, tmp_path)
    check(run_refused("fit", "--config", config, "--data.tokenizer", place, cwd=tmp_path), place / name)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_base(folder: Path, tmp_path: Path, name: str) -> None:
    place = shutil.copytree(tiny.finished_export(folder), tmp_path / "base")
    (place / name).write_text(POINTER)
    words = ["--model.base", place, "--model.from_scratch", "null", "--data.tokenizer", place]
    check(run_refused("fit", "--config", write_small_config(folder, tmp_path), *words, cwd=tmp_path), place / name)


@pytest.mark.parametrize("digest", [True, False])
@pytest.mark.parametrize("verb", ["test", "export", "fit"])
def test_a_checkpoint(run: Path, tmp_path: Path, verb: str, digest: bool) -> None:
    path = next((run / "checkpoints").glob("step-*.ckpt"))
    path.write_text(POINTER)
    if not digest:
        path.with_name(path.name + ".sha256").unlink()
    options = {
        "test": ["--ckpt_path", path],
        "export": ["--checkpoint", path, "--output", tmp_path / "export"],
        "fit": ["--config", run / "config.yaml", "--ckpt_path", path],
    }
    check(run_refused(verb, *options[verb], cwd=tmp_path), path)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "lightning_med.json"])
def test_an_export(folder: Path, tmp_path: Path, name: str) -> None:
    place = shutil.copytree(tiny.finished_export(folder), tmp_path / "export")
    (place / name).write_text(POINTER)
    check(run_refused("respond", "--model", place, "My tongue is sore.", cwd=tmp_path), place / name)


def test_messages_for_triage(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_text(POINTER)
    check(run_refused("triage", "--input", path, cwd=tmp_path), path)
