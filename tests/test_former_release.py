"""What version 0.1.0 has written is read: its configs, its run's checkpoint and its export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lightning_med import Responder
from tests import tiny
from tests.conftest import ROOT

FORMER = ROOT / "tests" / "release_0_1_0"
WRITTEN = "ndndndndndndoooooo"  # what it answered to this question, before its guard
QUESTION = "My tongue is sore"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of the run's folder, beside its data."""
    folder = tmp_path / "lightning_logs" / "small" / "version_0"
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("step-16.ckpt", "step-16.ckpt.sha256"):
        shutil.copy(FORMER / name, folder / "checkpoints")
    shutil.copy(FORMER / "config.yaml", folder)
    shutil.copy(FORMER / "consultations.csv", tmp_path)
    return folder


@pytest.mark.parametrize(
    "config", sorted([*FORMER.glob("configs/*.yaml"), FORMER / "config.yaml"]), ids=lambda path: path.name
)
def test_its_configs_are_valid(config: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        tiny.command("fit", "--config", config, "--print_config")
    assert ended.value.code == 0


def test_its_export_answers_as_it_did() -> None:
    responder = Responder.from_pretrained(FORMER / "export", safety=False)
    assert responder.respond(QUESTION).raw == WRITTEN


def test_its_checkpoint_has_the_perplexity_that_it_had(run: Path, tmp_path: Path) -> None:
    status, _, err = tiny.command("test", "--ckpt_path", run / "checkpoints" / "step-16.ckpt", cwd=tmp_path)
    assert status == 0, err
    before, now = (json.loads(path.read_text(encoding="utf-8")) for path in (FORMER / "test.json", run / "test.json"))
    for name in ("test/loss", "test/bits_per_byte", "test/base_loss"):
        assert now[name] == pytest.approx(before[name], rel=1e-6)
    assert now["test/tokens"] == before["test/tokens"]


def test_its_checkpoint_is_exported_with_the_same_weights(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "export"
    status, _, err = tiny.command("export", "--checkpoint", run / "checkpoints" / "step-16.ckpt", "--output", output)
    assert status == 0, err
    assert (output / "model.safetensors").read_bytes() == (FORMER / "export" / "model.safetensors").read_bytes()
    assert Responder.from_pretrained(output, safety=False).respond(QUESTION).raw == WRITTEN


def test_a_run_of_it_goes_on_where_that_is_asked_for(run: Path, tmp_path: Path) -> None:
    (run / "checkpoints" / "last.ckpt").symlink_to("step-16.ckpt")
    config = run / "config.yaml"
    refused, _, err = tiny.command("fit", "--config", config, "--resume", "auto", cwd=tmp_path)
    assert refused == 2
    assert "--resume_anyway true" in err
    options = ("--resume", "auto", "--resume_anyway", "true", "--trainer.max_epochs", "3", "--samples.counted", "0")
    status, _, err = tiny.command("fit", "--config", config, *options, cwd=tmp_path)
    assert status == 0, err
    assert (run / "checkpoints" / "last.ckpt").resolve().name == "step-24.ckpt"
