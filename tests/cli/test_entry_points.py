"""The command as a process: its imports, its help, its version."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lightning_med.cli.command import VERBS, main
from lightning_med.version import __version__

NO_TORCH = """
import sys
from lightning_med.cli import main
status = main(sys.argv[1:])
heavy = {"torch", "lightning", "transformers", "pandas", "numpy", "datasets", "jsonargparse"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else status)
"""


def run_python(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *argv], cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("argv", "status"), [([], 0), (["--help"], 0), (["--version"], 0), (["fly"], 2), (["runs", "."], 0)]
)
def test_help_version_runs_and_unknown_verbs_import_no_heavy_library(
    argv: list[str], status: int, tmp_path: Path
) -> None:
    folder = tmp_path / "lightning_logs" / "tiny" / "version_0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("data: {source: a.csv}\n", encoding="utf-8")
    result = run_python("-c", NO_TORCH, *argv, cwd=tmp_path)
    assert result.returncode == status, result.stderr


@pytest.mark.parametrize("verb", ["export", "respond", "chat"])
def test_the_help_of_verbs_without_a_trainer_is_printed(verb: str, tmp_path: Path) -> None:
    result = run_python("-m", "lightning_med", verb, "--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"usage: lightning-med {verb}" in result.stdout


def test_python_m_runs_the_command(tmp_path: Path) -> None:
    result = run_python("-m", "lightning_med", "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert all(verb in result.stdout for verb in VERBS)
    assert "not a medical device" in result.stdout
    assert result.stderr == ""


def test_version_prints_what_a_bug_report_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"lightning-med {__version__}"
    assert [line.split()[0] for line in lines[1:]] == ["torch", "lightning", "transformers"]


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    line = f"{sys.executable} -m lightning_med --help | head -n 0; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.stderr == ""


def test_help_of_fit_shows_our_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["fit", "--help"])
    assert raised.value.code == 0
    out = capsys.readouterr().out
    assert all(option in out for option in ("--data.source", "--model.lr", "--name", "--samples.questions"))
    usage, _, rest = out.partition("\n\n")
    assert len(usage.splitlines()) == 1
    assert usage.startswith("usage: lightning-med fit")
    for group in ("trainer", "model", "data", "checkpoint", "samples", "optimizer", "lr_scheduler"):
        assert f"\n{group} (" in rest


def test_print_config_prints_the_settings_as_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["fit", "--model.lr", "0.25", "--print_config"])
    assert raised.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["lr"] == 0.25
