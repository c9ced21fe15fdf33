"""check_bases finds each family as exact as documented, and fails if one is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lightning_med.model import execution
from tests.conftest import ROOT


@pytest.mark.slow
def test_every_base_is_as_the_documentation_says(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    page = tmp_path / "bases.md"
    page.write_text((ROOT / "docs" / "bases.md").read_text(encoding="utf-8"), encoding="utf-8")
    documented = read_rows(page)
    assert script("check_bases").main(["--write", str(page)]) == 0
    assert read_rows(page) == documented


def read_rows(page: Path) -> list[tuple[str, str]]:
    """Returns the first two columns of each table; figures differ between machines."""
    return re.findall(r"^\| ([^|]+) \| (\w+) \|", page.read_text(encoding="utf-8"), re.MULTILINE)


def test_a_base_that_is_not_exact_is_wrong(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    module = script("check_bases")
    assert module.main(["--only", "Granite"]) == 0
    monkeypatch.setattr(execution, "_fit_output", lambda *_: execution.OutputRule())
    assert module.main(["--only", "Granite"]) == 1
    assert "WRONG: loss" in capsys.readouterr().out
