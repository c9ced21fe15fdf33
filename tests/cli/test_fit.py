"""`fit`: its files, its settings, its messages."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from tests import tiny
from tests.cli.helpers import list_files, write_small_config

RUN_FILES = {".lock", "config.yaml", "checkpoints/last.ckpt", "checkpoints/best-N.ckpt", "checkpoints/step-N.ckpt"} | {
    "checkpoints/step-N.ckpt.sha256",
    "events.out.tfevents",
    "metrics.csv",
    "run.json",
}


def test_a_fit_leaves_exactly_these_files(folder: Path, shared_run: Path) -> None:
    assert list_files(shared_run) - {"hparams.yaml"} == RUN_FILES
    assert [path.name for path in (folder / "lightning_logs").rglob("version_*")] == ["version_0"]
    assert {path.name for path in folder.iterdir()} <= {
        "lightning_logs",
        "tiny.yaml",
        "consultations.csv",
        "cache",
        "export",
    }


def test_the_saved_config_holds_all_settings_but_no_options_of_a_single_call(shared_run: Path) -> None:
    saved = yaml.safe_load((shared_run / "config.yaml").read_text())
    assert saved["model"]["lr"] == 3e-3
    assert saved["data"]["batch_tokens"] == 512
    assert saved["trainer"]["max_epochs"] == 2
    assert saved["name"] == "tiny"
    assert not {"config", "ckpt_path", "output"} & set(saved)


def test_a_fit_prints_the_next_commands(folder: Path, tmp_path: Path) -> None:
    status, out, err = tiny.command("fit", "--config", write_small_config(folder, tmp_path), cwd=tmp_path)
    assert status == 0, err
    last = out.strip().splitlines()[-1]
    assert last.startswith("next: lightning-med export --checkpoint ")
    assert " && lightning-med respond --model " in last
    words = last.split()
    assert (tmp_path / words[words.index("--checkpoint") + 1]).is_file()


def test_a_second_fit_creates_a_second_version(folder: Path, tmp_path: Path) -> None:
    config = write_small_config(folder, tmp_path)
    for number in range(2):
        assert tiny.command("fit", "--config", config, cwd=tmp_path)[0] == 0
        assert (tmp_path / "lightning_logs" / "small" / f"version_{number}" / "checkpoints" / "last.ckpt").is_file()
    assert len(list((tmp_path / "lightning_logs" / "small").iterdir())) == 2


def test_default_root_dir_and_name_set_the_folder_of_a_run(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "elsewhere"
    argv = (
        "fit",
        "--config",
        write_small_config(folder, tmp_path),
        "--name",
        "other",
        "--trainer.default_root_dir",
        root,
    )
    assert tiny.command(*argv, cwd=tmp_path)[0] == 0
    assert (root / "lightning_logs" / "other" / "version_0" / "config.yaml").is_file()
    assert not (tmp_path / "lightning_logs").exists()


def test_a_saved_config_reproduces_the_run(folder: Path, tmp_path: Path) -> None:
    config = write_small_config(folder, tmp_path)
    assert tiny.command("fit", "--config", config, cwd=tmp_path)[0] == 0
    runs = tmp_path / "lightning_logs" / "small"
    status, _, err = tiny.command("fit", "--config", runs / "version_0" / "config.yaml", cwd=tmp_path)
    assert status == 0, err
    first, second = (
        torch.load(runs / f"version_{n}" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for n in (0, 1)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_ckpt_path_last_continues_in_the_newest_run(folder: Path, tmp_path: Path) -> None:
    config = write_small_config(folder, tmp_path)
    assert tiny.command("fit", "--config", config, cwd=tmp_path)[0] == 0
    argv = ("fit", "--config", config, "--ckpt_path", "last", "--trainer.max_steps", 4)
    status, _, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    runs = tmp_path / "lightning_logs" / "small"
    assert [path.name for path in runs.iterdir()] == ["version_0"]
    content = torch.load(runs / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 4
    saved = yaml.safe_load((runs / "version_0" / "config.yaml").read_text())
    assert not {"ckpt_path", "resume"} & set(saved)  # otherwise every later call with this config would resume as well


@pytest.mark.parametrize("has_bf16", [True, False])
def test_16_mixed_without_a_gpu_becomes_the_best_precision_of_the_processor(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_bf16: bool
) -> None:
    from lightning_med.utils import precision

    monkeypatch.setattr(precision, "has_cpu_bf16", lambda: has_bf16)
    expected = "bf16-mixed" if has_bf16 else "32-true"
    assert precision.choose_precision("16-mixed", "cpu") == expected
    assert precision.choose_precision("32-true", "cpu") == "32-true"
    assert precision.choose_precision("16-mixed", "cuda") == "16-mixed"
    status, out, err = tiny.command(
        "fit", "--config", write_small_config(folder, tmp_path, precision="16-mixed"), cwd=tmp_path
    )
    assert status == 0, err
    assert expected in out + err
    run = tmp_path / "lightning_logs" / "small" / "version_0"
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["precision"] == "16-mixed"  # for a GPU later
    assert yaml.safe_load((run / "hparams.yaml").read_text())["trainer.precision"] == expected
    last = run / "checkpoints" / "last.ckpt"
    status, _, err = tiny.command("export", "--checkpoint", last, "--output", run / "export", cwd=tmp_path)
    assert status == 0, err
    assert f"| precision | {expected} |" in (run / "export" / "README.md").read_text()
