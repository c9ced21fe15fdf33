"""`triage_conversation`: the verdict on the last message of a conversation, with those before it in view."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from lightning_med.safety.levels import CRISIS, EMERGENCY, HARMFUL, URGENT
from lightning_med.safety.messages.advice import get_notice
from lightning_med.safety.messages.triage import Verdict, triage

_RECALLED = 20  # messages before the last in which a danger is looked for

_triage = lru_cache(maxsize=1024)(triage)  # a conversation is read anew at each of its messages


def triage_conversation(messages: Sequence[str], region: str | None = None) -> Verdict:
    """Returns the safety verdict on what a person wrote last.

    - The last message alone decides where it alarms or is harmful.
    - So does the last message together with the one before it: "I took all of them" and "the paracetamol, I mean" are
      a danger together only.
    - A danger of an earlier message holds: the person has gone on writing, so a model may answer, under that danger's
      advice. The level is `urgent` then.

    Args:
        messages: Of the person alone, in order; at least one.
        region: See `triage`.
    """
    last = _triage(messages[-1], region)
    if not last.answerable or len(messages) == 1:
        return last
    before = [_triage(message, region) for message in messages[-1 - _RECALLED : -1]]
    together = _triage(f"{messages[-2]}\n{messages[-1]}", region)
    if not together.answerable and before[-1].answerable:
        return together
    if together.level == HARMFUL and before[-1].level == HARMFUL:  # "and how much of it would that take?"
        return together
    dangers = [verdict for verdict in before if verdict.level in (EMERGENCY, CRISIS)]
    return _recall(dangers[-1], last, region) if dangers else last


def _recall(danger: Verdict, last: Verdict, region: str | None) -> Verdict:
    """The verdict on a message that is none by itself, after a danger."""
    advice = f"{get_notice('earlier', region)}\n{danger.advice}"
    categories = tuple(dict.fromkeys((*danger.categories, *last.categories)))
    return Verdict(URGENT, danger.category, categories, advice, danger.evidence)
