"""The check of the wheel: what its commands know of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def test_commands_know_how_to_reach_the_index_and_nothing_else(
    script: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    kept = {*proxies, *map(str.lower, proxies), "PIP_INDEX_URL", "SSL_CERT_FILE"}
    for name in (*kept, "LIGHTNING_MED_AUTH", "PYTHONPATH", "HF_HOME"):
        monkeypatch.setenv(name, "of this machine")
    variables = script("check_wheel").Place(tmp_path).variables
    found = {name for name, value in variables.items() if value == "of this machine"}
    assert found == kept
