"""The wheel contains what the installed command reads, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import lightning_med
import lightning_med.safety
from lightning_med.version import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = folder.glob("*.whl")
    assert path.name.startswith(f"lightning_med-{__version__}-py3")
    return zipfile.ZipFile(path)


def test_the_wheel_contains_the_data_and_the_configs(wheel: zipfile.ZipFile) -> None:
    sample = ROOT / "lightning_med" / "data" / "sample"
    for name in ("consultations.csv", "complaints.yaml"):
        assert wheel.read(f"lightning_med/data/sample/{name}") == (sample / name).read_bytes()
    for path in (
        "safety/messages/danger_rules.yaml",
        "safety/messages/encoder/classifier.onnx",
        "safety/messages/encoder/classifier_tokenizer.json",
        "safety/messages/encoder/costs.yaml",
        "privacy/given_names.txt",
    ):
        assert wheel.read(f"lightning_med/{path}") == (ROOT / "lightning_med" / path).read_bytes()
    for path in (ROOT / "configs").glob("*.yaml"):
        assert wheel.read(f"lightning_med/configs/{path.name}") == path.read_bytes()


def test_the_wheel_contains_every_module_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    package = (path for path in (ROOT / "lightning_med").rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert {str(path.relative_to(ROOT)) for path in package} <= names
    assert "lightning_med/py.typed" in names
    assert {name.split("/")[0] for name in names} == {"lightning_med", f"lightning_med-{__version__}.dist-info"}
    weights = [name for name in names if name.endswith((".pyc", ".ckpt", ".safetensors", ".onnx"))]
    assert weights == ["lightning_med/safety/messages/encoder/classifier.onnx"]


def test_the_wheel_contains_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    info = f"lightning_med-{__version__}.dist-info"
    assert "lightning-med = lightning_med.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert "Apache License" in wheel.read(f"{info}/licenses/LICENSE").decode()
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Dist: lightning<2.7,>=2.6.6" in metadata


def test_the_installed_command_finds_configs_and_sample_outside_the_checkout(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    wheel.extractall(tmp_path / "site")
    code = (
        "import lightning_med, pathlib; from lightning_med.cli import shipped_configs as shipped; from lightning_med.data.sample import PATH;"
        "print(lightning_med.__file__, shipped.find_shipped_configs(['configs/debug.yaml'])[0], PATH.is_file())"
    )
    argv = [sys.executable, "-S", "-c", code]
    result = subprocess.run(
        argv, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    package, config, sample = result.stdout.split()
    assert package.startswith(str(tmp_path))
    assert config == str(tmp_path / "site" / "lightning_med" / "configs" / "debug.yaml")
    assert sample == "True"


@pytest.mark.parametrize("module", [lightning_med, lightning_med.safety])
def test_names_that_are_imported_late_are_listed(module: ModuleType) -> None:
    """Editors and notebooks complete by `dir`."""
    assert set(module.__all__) <= set(dir(module))
