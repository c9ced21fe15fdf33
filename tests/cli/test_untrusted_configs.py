"""Untrusted config files: the classes that they may name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_med.cli.parsing.untrusted_configs import check_configs
from lightning_med.utils.errors import InputError

CALLBACKS = "lightning.pytorch.callbacks"


def write_config(folder: Path, trainer: Any) -> Path:
    path = folder / "untrusted.yaml"
    path.write_text(yaml.safe_dump({"trainer": trainer}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "trainer",
    [
        {"callbacks": [{"class_path": "os.system"}]},
        {"callbacks": "unknown.Mine"},
        {"callbacks": [{"class_path": f"{CALLBACKS}.LambdaCallback"}]},
        {"callbacks": [{"class_path": f"{CALLBACKS}.Timer", "init_args": {"x": {"class_path": "os.system"}}}]},
        {"plugins": ["unknown.Plugin"]},
        {"logger": {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "/etc"}}},
        {"callbacks": [{"class_path": f"{CALLBACKS}.ModelCheckpoint", "init_args": {"dirpath": "../../x"}}]},
    ],
)
def test_unknown_classes_and_paths_outside_the_run_are_refused_by_name(tmp_path: Path, trainer: Any) -> None:
    path = write_config(tmp_path, trainer)
    for argv in (["fit", "--config", str(path)], ["fit", f"--config={path}"], ["test", "-c", str(path)]):
        with pytest.raises(InputError, match=r"untrusted\.yaml: trainer"):
            check_configs(argv)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "unknown.Mine"},
        {"optimizer": {"class_path": "unknown.Mine"}},
        {"optimizer": {"class_path": "torch.optim.optimizer.functools.partial"}},
        {"lr_scheduler": {"class_path": "torch.optim.lr_scheduler.LambdaLR", "init_args": {"lr_lambda": "os.system"}}},
        {"fit": {"lr_scheduler": {"class_path": "LambdaLR", "init_args": {"lr_lambda": ["os.system"]}}}},
    ],
)
def test_optimizers_and_what_they_call_are_refused_unless_they_are_torchs(tmp_path: Path, settings: Any) -> None:
    path = tmp_path / "untrusted.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    with pytest.raises(InputError, match=r"untrusted\.yaml: .* nothing of it was loaded"):
        check_configs(["fit", "--config", str(path)])


def test_optimizers_and_schedules_of_torch_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "trusted.yaml"
    plateau = {"class_path": "lightning.pytorch.cli.ReduceLROnPlateau", "init_args": {"monitor": "val/loss"}}
    for schedule in ("StepLR", "torch.optim.lr_scheduler.StepLR", {"class_path": "StepLR"}, plateau):
        settings = {"optimizer": {"class_path": "torch.optim.SGD"}, "lr_scheduler": schedule}
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        check_configs(["fit", "--config", str(path)])


def test_a_part_in_a_file_of_its_own_is_checked_too(tmp_path: Path) -> None:
    part = tmp_path / "part.yaml"
    part.write_text(yaml.safe_dump({"callbacks": "unknown.Mine"}))
    whole = write_config(tmp_path, "part.yaml")
    for argv in (["fit", "--trainer", str(part)], ["fit", f"--trainer={part}"], ["fit", "--config", str(whole)]):
        with pytest.raises(InputError, match=r"part\.yaml"):
            check_configs(argv)


@pytest.mark.parametrize("name", ["untrusted.txt", "untrusted", "untrusted.YAML"])
def test_a_config_is_checked_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(yaml.safe_dump({"trainer": {"callbacks": "unknown.Mine"}}))
    part = tmp_path / "whole.yaml"
    part.write_text(yaml.safe_dump({"config": name}))
    for argv in (["fit", "--config", str(path)], ["fit", f"--config={path}"], ["fit", "--config", str(part)]):
        with pytest.raises(InputError, match="nothing of it was loaded"):
            check_configs(argv)
    path.write_text("callbacks: unknown.Mine")
    part.write_text(yaml.safe_dump({"trainer": name}))
    for argv in (["fit", "--trainer", str(path)], ["fit", "--config", str(part)]):
        with pytest.raises(InputError, match="nothing of it was loaded"):
            check_configs(argv)


@pytest.mark.parametrize("shipped", sorted(Path("configs").glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_configs_are_accepted(shipped: Path) -> None:
    check_configs(["fit", "--config", str(shipped)])


def test_the_command_line_may_name_any_class() -> None:
    check_configs(["fit", "--trainer.callbacks+=my_package.Mine", "--name", "a.b"])
