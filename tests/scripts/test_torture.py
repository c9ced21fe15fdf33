"""Faults injected into real runs: a few of each kind, in a process of its own, because it forks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "torture.py"


@pytest.mark.slow
def test_all_guarantees_hold_under_injected_faults(tmp_path: Path) -> None:
    report = tmp_path / "reliability.md"
    command = [sys.executable, str(SCRIPT), "--quick", "--report", str(report)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=tmp_path)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-2000:]
    table = [line for line in report.read_text().splitlines() if line.startswith("| ") and " of " in line]
    assert len(table) > 30
    for name in ("{table}", "{machine}", "{minutes}"):
        assert name not in report.read_text()
