"""Every shipped config can be parsed, and its header shows its command."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from lightning.pytorch.cli import LightningArgumentParser

from lightning_med.cli.lightning_cli import MedCLI, MedTrainer
from lightning_med.cli.shipped_configs import find_shipped_configs
from lightning_med.data.module import DialogueDataModule
from lightning_med.training.module import DialogueLM
from tests import tiny

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


class Parsed(Exception):
    """Carries the parsed settings; raised before anything is created."""


class ParseOnly(MedCLI):
    def before_instantiate_classes(self) -> None:
        raise Parsed(self.config[self.subcommand])


def parse(path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Returns the settings of a config as `fit` parses them."""
    monkeypatch.setattr(sys, "argv", ["lightning-med", "fit", "--config", str(path)])
    with pytest.raises(Parsed) as raised:
        ParseOnly(
            DialogueLM,
            DialogueDataModule,
            trainer_class=MedTrainer,
            parser_class=LightningArgumentParser,
            save_config_callback=None,
            seed_everything_default=42,
        )
    return raised.value.args[0]


def test_there_are_configs() -> None:
    assert {path.name for path in CONFIGS} >= {"debug.yaml", "distilgpt2.yaml", "quickstart.yaml"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_config_is_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = parse(path, monkeypatch)
    for part, values in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        assert part in ("trainer", "data", "model", "checkpoint", "samples", "name", "seed_everything")
        if part == "data":
            DialogueDataModule(**{**settings.data.as_dict(), **values})
        if part == "model":
            DialogueLM(**{**settings.model.as_dict(), **values})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_config_starts_with_its_purpose_and_its_command(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert lines[1] == f"#   lightning-med fit --config configs/{path.name}"


def test_a_shipped_config_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for options in (["fit", "--config", "configs/debug.yaml"], ["fit", "--config=configs/debug.yaml"]):
        argv = find_shipped_configs(options)
        path = Path(argv[-1].removeprefix("--config="))
        assert path.is_absolute()
        assert path.read_text() == (ROOT / "configs" / "debug.yaml").read_text()


def test_a_users_config_takes_precedence_over_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "debug.yaml").write_text("trainer: {}")
    monkeypatch.chdir(tmp_path)
    options = ["fit", "--config", "configs/debug.yaml"]
    assert find_shipped_configs(options) == options


def test_the_debug_config_creates_all_files_of_a_run(tmp_path: Path) -> None:
    argv = ("fit", "--config", "configs/debug.yaml", "--data.cache_dir", tmp_path / "cache")
    status, out, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    run = tmp_path / "lightning_logs" / "debug" / "version_0"
    assert {path.name for path in run.iterdir()} >= {"config.yaml", "checkpoints", "metrics.csv"}
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert list((run / "checkpoints").glob("best*.ckpt"))
    assert "Sample answers" in out
