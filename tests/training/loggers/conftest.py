"""What the tests of trackers share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """The variables of trackers as on a machine without any; all variables are restored."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("WANDB", "MLFLOW", "TRACKIO"))]:
        del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def wandb() -> Iterator[Any]:
    """The library, which reads its settings once: those of the test, and afterwards anew."""
    library = pytest.importorskip("wandb")
    library.teardown()
    yield library
    library.teardown()
