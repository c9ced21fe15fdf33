"""What a stranger's file must not be able to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_med import checkpoint as ckpt
from lightning_med.cli import main
from tests import tiny


@pytest.fixture(scope="session")
def cli_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.finished_run(tmp_path_factory.getbasetemp() / "tiny")


def forged(source: Path, target: Path, part: str, settings: dict[str, Any]) -> Path:
    """A copy of a checkpoint whose settings say something more."""
    content = torch.load(source, weights_only=True)
    known = json.loads(content[ckpt.KEY]["settings"])
    known[part] = {**known[part], **settings}
    content[ckpt.KEY]["settings"] = json.dumps(known)
    torch.save(content, target)
    return target


@pytest.mark.parametrize("verb", ["test", "validate", "predict"])
@pytest.mark.parametrize("part", ["trainer", "data"])
def test_a_checkpoint_loads_no_class_that_its_settings_name(
    cache: Path, cli_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, part: str
) -> None:
    """A module that would leave a mark when it is imported is named wherever a class could be."""
    mark = tmp_path / "ran"
    (tmp_path / "stranger.py").write_text(f"open({str(mark)!r}, 'w')\nclass Loaded: pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    bait = [{"class_path": "stranger.Loaded"}]
    name = "callbacks" if part == "trainer" else "source"
    path = forged(cli_run / "checkpoints" / "last.ckpt", tmp_path / "forged.ckpt", part, {name: bait})
    status = main([verb, "--ckpt_path", str(path), "--output", str(tmp_path / "out")])
    assert status == (0 if part == "trainer" else 2)
    assert not mark.exists()


def test_a_checkpoint_without_a_format_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({ckpt.KEY: {}, "state_dict": {}}, tmp_path / "x.ckpt")
    assert main(["export", "--checkpoint", str(tmp_path / "x.ckpt"), "--output", str(tmp_path / "out")]) == 2
    assert "format" in capsys.readouterr().err
