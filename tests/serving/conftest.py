"""What the tests of answering share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightning_med import Responder
from lightning_med.safety.messages.parsed_message import parse_message
from tests import tiny


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an export of the shared run, for reading only."""
    return tiny.finished_export(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="module")
def responder(exported: Path) -> Responder:
    """The model of that folder."""
    return Responder.from_pretrained(exported)


@pytest.fixture
def triaged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages that were triaged, whoever called `triage`."""
    messages: list[str] = []

    def counted(text: str, rules: Any) -> Any:
        messages.append(text)
        return parse_message(text, rules)

    monkeypatch.setattr("lightning_med.safety.messages.triage.parse_message", counted)
    return messages
