"""`make check`, the pre-commit hooks and the workflow on GitHub run the same checks."""

from __future__ import annotations

import os
import tomllib
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from lightning_med.version import __version__
from tests.conftest import ROOT


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def read_lines(name: str) -> list[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def list_check_commands() -> list[str]:
    """The commands of `make check`, with the folder of the environment's programs written out."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ncheck:")[2].partition("\n\n")[0]
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()[1:]]


def test_the_hooks_run_what_make_check_runs() -> None:
    (local,) = read(".pre-commit-config.yaml")["repos"]
    assert [hook["entry"] for hook in local["hooks"]] == list_check_commands()
    assert all(hook["language"] == "system" and hook["pass_filenames"] is False for hook in local["hooks"])


def test_the_workflow_runs_ci_on_each_supported_python() -> None:
    job = read(".github/workflows/checks.yaml")["jobs"]["checks"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = "Programming Language :: Python :: "
    supported = [entry.removeprefix(named) for entry in project["classifiers"] if entry.startswith(named)]
    assert job["strategy"]["matrix"]["python"] == supported
    setup, run = job["steps"][-2:]
    assert setup["with"]["python-version"] == "${{ matrix.python }}"
    assert run["run"] == ".ci/run"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_oldest_constraints_are_the_lower_bounds() -> None:
    """What `make check` alone uses is left out: its results depend on its own versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = [Requirement(line) for line in read_lines("constraints-oldest.txt")]
    pinned = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in oldest}
    extras = project["optional-dependencies"]
    tested = [text for text in extras["dev"] if not text.startswith("lightning-med[")]
    for text in project["dependencies"] + tested + extras["app"]:
        admitted = Requirement(text)
        if admitted.name not in ("ruff", "mypy", "import-linter", "types-PyYAML", "pandas-stubs"):
            (bound,) = [part.version for part in admitted.specifier if part.operator == ">="]
            assert Version(pinned[canonicalize_name(admitted.name)]) == Version(bound), text


def test_the_citation_names_this_version() -> None:
    citation = read("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == __version__
    assert citation["license"] == "Apache-2.0"
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
