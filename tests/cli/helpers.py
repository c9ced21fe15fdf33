"""Helpers of the command's tests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests import tiny


def list_files(folder: Path) -> set[str]:
    """Returns the relative paths of all files, with N instead of the read_json in their names."""
    paths = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    named = {re.sub(r"best-\d+-\d+\.\d+", "best-N", re.sub(r"step-\d+", "step-N", name)) for name in paths}
    return {re.sub(r"tfevents.*", "tfevents", name) for name in named}


def run_refused(*argv: object, cwd: Path) -> str:
    """Runs a command and checks that it exits with 2, prints one or two lines, and leaves no files; returns the lines."""
    before = list_files(cwd)
    status, out, err = tiny.command(*argv, cwd=cwd)
    assert status == 2, (out, err)
    lines = err.strip().splitlines()
    assert 1 <= len(lines) <= 2, err
    assert lines[0].startswith("lightning-med: ")
    assert not re.search("Traceback|usage:", out + err)
    assert list_files(cwd) == before
    return err


def write_small_config(folder: Path, target: Path, **trainer: Any) -> Path:
    """Writes the config file of a fit of two steps; the table and the cache are those of `folder`."""
    content = tiny.settings(folder, **{"max_steps": 2, "callbacks": [], **trainer})
    content["samples"] = {"questions": 0}
    path = target / "small.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
