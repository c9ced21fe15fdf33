"""Fixtures of the command's tests: one finished run; environment and signal handlers restored after each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny
from tests.signal_fixtures import handlers  # noqa: F401 - pytest finds fixtures here by name


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the shared run, its config, its table and its cache."""
    path = tmp_path_factory.getbasetemp() / "tiny"
    tiny.finished_run(path)
    return path


@pytest.fixture(scope="session")
def shared_run(folder: Path) -> Path:
    """Folder of a finished run, for reading only."""
    return tiny.finished_run(folder)


@pytest.fixture
def run(folder: Path, shared_run: Path, tmp_path: Path) -> Path:
    """A copy of the shared run, for tests that write into it."""
    return shutil.copytree(shared_run, tmp_path / "lightning_logs" / "tiny" / "version_0")


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Restores the environment variables after the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
