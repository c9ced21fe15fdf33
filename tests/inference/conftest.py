"""What the tests of generation and of the engines share."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_med.data.module import DialogueDataModule
from lightning_med.model.causal_lm import build_from_scratch
from lightning_med.tokenization.encoder import Encoder
from tests import tiny
from tests.model_fixtures import data, folder, seeded  # noqa: F401 - pytest finds fixtures here by name


@pytest.fixture
def encoder(data: DialogueDataModule) -> Encoder:  # noqa: F811
    return data.encoder


@pytest.fixture
def network(encoder: Encoder) -> Any:
    """A network with random weights, of a variance at which no two tokens are equally likely."""
    fields = {**tiny.NETWORK, "initializer_range": 0.3}
    return build_from_scratch(fields, len(encoder.tokenizer), encoder.tokenizer.eos_token_id, 0.0, 11).eval()
