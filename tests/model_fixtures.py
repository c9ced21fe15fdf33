"""Fixtures of all tests that need a network: one prepared table, one seed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning.pytorch import seed_everything

from lightning_med.data.module import DialogueDataModule
from tests import tiny


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Seeds every test alike and restores the environment and the random state after it."""
    before = dict(os.environ)
    with torch.random.fork_rng():
        seed_everything(7, verbose=False)
        yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the table and its cache."""
    return tmp_path_factory.mktemp("model")


@pytest.fixture
def data(folder: Path) -> DialogueDataModule:
    return tiny.data_module(folder)
