"""What the tests of answering share."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_med.safety.messages.parsed_message import parse_message


@pytest.fixture
def triaged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages that were triaged, whoever called `triage`."""
    messages: list[str] = []

    def counted(text: str, rules: Any) -> Any:
        messages.append(text)
        return parse_message(text, rules)

    monkeypatch.setattr("lightning_med.safety.messages.triage.parse_message", counted)
    return messages
