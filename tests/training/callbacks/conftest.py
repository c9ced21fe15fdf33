"""Fixtures of the callbacks' tests: one finished run, its logs, restored signal handlers."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests import tiny
from tests.signal_fixtures import handlers  # noqa: F401 - pytest finds fixtures here by name


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run, for reading only."""
    return tiny.finished_run(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="module")
def events(run: Path) -> EventAccumulator:
    """The TensorBoard logs of that run."""
    return EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0}).Reload()
