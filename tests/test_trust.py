"""Untrusted files and wrong input: no code runs, no files are left."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_med.checkpoints.reading import KEY
from lightning_med.cli.command import main
from tests import tiny


@pytest.fixture(scope="session")
def cli_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run, for reading only."""
    return tiny.finished_run(tmp_path_factory.getbasetemp() / "tiny")


def forge_settings(source: Path, target: Path, part: str, settings: dict[str, Any]) -> Path:
    """Writes a copy of a checkpoint with additional settings."""
    content = torch.load(source, weights_only=True)
    stored = json.loads(content[KEY]["settings"])
    stored[part] = {**stored[part], **settings}
    content[KEY]["settings"] = json.dumps(stored)
    torch.save(content, target)
    return target


@pytest.mark.parametrize("verb", ["test", "validate", "predict"])
@pytest.mark.parametrize("part", ["trainer", "data"])
def test_a_checkpoint_loads_no_class_that_its_settings_name(
    cache: Path, cli_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, part: str
) -> None:
    """The settings name a module that creates a marker file when it is imported."""
    marker = tmp_path / "ran"
    (tmp_path / "untrusted.py").write_text(f"open({str(marker)!r}, 'w')\nclass Loaded: pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    classes = [{"class_path": "untrusted.Loaded"}]
    name = "callbacks" if part == "trainer" else "source"
    path = forge_settings(cli_run / "checkpoints" / "last.ckpt", tmp_path / "forged.ckpt", part, {name: classes})
    status = main([verb, "--ckpt_path", str(path), "--output", str(tmp_path / "out")])
    assert status == (0 if part == "trainer" else 2)
    assert not marker.exists()


def test_a_checkpoint_without_a_format_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({KEY: {}, "state_dict": {}}, tmp_path / "x.ckpt")
    assert main(["export", "--checkpoint", str(tmp_path / "x.ckpt"), "--output", str(tmp_path / "out")]) == 2
    assert "format" in capsys.readouterr().err


def test_a_checkpoint_is_tested_with_its_own_tokenizer_on_any_table(
    cache: Path, cli_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tokenizer was trained in the run; trained on the other table, it would differ."""
    monkeypatch.chdir(tmp_path)
    other = tiny.table(tmp_path / "other.csv", rows=40, seed=9)
    checkpoint = str(cli_run / "checkpoints" / "last.ckpt")
    assert main(["test", "--ckpt_path", checkpoint, "--data.source", str(other), "--output", "other.json"]) == 0
    assert json.loads(Path("other.json").read_text())["test/tokens"] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_an_interrupted_export_leaves_nothing(
    cli_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def stop(*args: Any) -> str:
        signal.raise_signal(number)
        return ""

    monkeypatch.setattr("lightning_med.export.model_card.make_model_card", stop)
    place = tmp_path / "place"
    checkpoint = str(cli_run / "checkpoints" / "last.ckpt")
    assert main(["export", "--checkpoint", checkpoint, "--output", str(place / "export")]) == 128 + number
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("verb", ["test", "predict"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(cli_run: Path, tmp_path: Path, verb: str) -> None:
    checkpoint = str(cli_run / "checkpoints" / "last.ckpt")
    (tmp_path / "file").write_text("x")
    for target in (tmp_path, tmp_path / "file" / "below"):
        assert main([verb, "--ckpt_path", checkpoint, "--output", str(target)]) == 2


@pytest.mark.parametrize(
    "option",
    [
        ("--model.lr", "-1"),
        ("--model.top_p", "5"),
        ("--model.warmup_fraction", "2"),
        ("--model.max_new_tokens", "0"),
        ("--data.num_workers", "-1"),
        ("--data.seed", "99999999999999999999"),
        ("--samples.questions", "-1"),
        ("--trainer.max_epochs", "0"),
    ],
)
def test_a_number_outside_its_range_is_refused_before_files_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", "configs/debug.yaml", *option]) == 2
    assert list(tmp_path.iterdir()) == []
