"""Answers of the tuned network and of the untuned base, by one network in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_med.safety import Verdict
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.safety.levels import ORDINARY

if TYPE_CHECKING:
    from lightning_med.serving.responder import Responder


def load_responder(export: Path) -> Responder:
    """Loads an export that answers greedily."""
    from lightning_med.serving.responder import Responder

    responder = Responder.from_pretrained(export)
    responder.decoding = replace(responder.decoding, temperature=0.0)
    return responder


def answer_all(responder: Responder, questions: list[str], ordinary: bool = False) -> list[str]:
    """Returns the guarded answers without the disclaimer, which is the same under each.

    Args:
        responder: Answers them in one batch.
        questions: As asked.
        ordinary: A person has read the questions, and none is urgent: the network answers all, with no notice above.
    """
    verdicts = [Verdict(ORDINARY)] * len(questions) if ordinary else None
    return [answer.answer.removesuffix(DISCLAIMER).strip() for answer in responder.respond_all(questions, verdicts)]


def restore_base(responder: Responder, base: Path) -> None:
    """Gives the network the weights of its base, tensor by tensor; prompt, template and decoding stay the same.

    Args:
        responder: Of an export that was tuned from the base.
        base: The base's folder, with one file of weights.
    """
    import torch
    from safetensors import safe_open

    state = responder.network.float().state_dict()
    with safe_open(base / "model.safetensors", "pt") as file, torch.no_grad():
        for name in file.keys():  # noqa: SIM118  # it is no mapping
            state[name].copy_(file.get_tensor(name))
