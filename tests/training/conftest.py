"""Fixtures of the training tests: one prepared table, one checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_med.training.callbacks.checkpoints import Checkpoints
from tests.model_fixtures import data, folder, seeded  # noqa: F401 - pytest finds fixtures here by name
from tests.training.helpers import fit


@pytest.fixture(scope="session")
def checkpoint(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The last checkpoint of a fit of one epoch, for reading only."""
    place = tmp_path_factory.mktemp("fitted")
    fit(folder, place, callbacks=[Checkpoints()])
    return next(place.rglob("last.ckpt"))
