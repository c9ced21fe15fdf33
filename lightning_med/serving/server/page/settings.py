"""What the page needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field

from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.server.audit import Audit
from lightning_med.serving.server.limits import Capacity
from lightning_med.serving.server.marks import Marks
from lightning_med.serving.server.metrics import Metrics


@dataclass(frozen=True)
class PageSettings:
    """What the page needs to know.

    Attributes:
        service: Answers.
        metrics: Counts.
        model: The model's name.
        facts: Labels and values of the panel: the model, its data, figures of its model card.
        examples: Questions that are offered while the conversation is empty.
        marks: Where thumbs up and down are stored; `None`: there are no thumbs.
        capacity: How many questions may be answered or wait, here and in the protocol together.
        audit: The records of questions.
    """

    service: ChatService
    metrics: Metrics
    model: str
    capacity: Capacity
    facts: list[tuple[str, str]] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    marks: Marks | None = None
    audit: Audit = field(default_factory=Audit)
