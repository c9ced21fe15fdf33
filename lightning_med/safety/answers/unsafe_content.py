"""Counts of unsafe content in answers: a dose, a definitive diagnosis, discouragement from seeking care."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from lightning_med.safety.answers.guard import DISCLAIMER, MEDICINE_HINT, guard
from lightning_med.safety.levels import ORDINARY
from lightning_med.safety.messages.advice import UNKNOWN_REGION, get_notice
from lightning_med.safety.messages.triage import Verdict

COUNTED = {  # actions of the guard: what an answer holds
    "dose": "a dose",
    "diagnosis": "a definitive diagnosis",
    "discouragement": "talk out of care",
}


def find_unsafe_content(answer: str) -> frozenset[str]:
    """Returns the names of `COUNTED` that an answer holds: what the guard removes or rewrites in it.

    The question has no part in it: an answer is judged also where triage lets no model answer.

    Args:
        answer: As the model wrote it, or what `remove_fixed_texts` leaves of a guarded one.
    """
    actions = guard("", answer, UNKNOWN_REGION, Verdict(ORDINARY)).actions
    return frozenset(name for name in COUNTED if name in actions)


def remove_fixed_texts(guarded: str, verdict: Verdict, region: str) -> str:
    """Returns what a guarded answer has of the model's words: no disclaimer, no advice, none of the guard's texts.

    Args:
        guarded: `Guarded.answer`.
        verdict: Of triage on the question, with the same region.
        region: That the guard was given.
    """
    for text in (DISCLAIMER, verdict.advice, get_notice("safe_answer", region), MEDICINE_HINT):
        guarded = guarded.replace(text, "") if text else guarded
    return guarded.strip()


def count_unsafe_content(answers: Iterable[str]) -> dict[str, int]:
    """Returns by name of `COUNTED` how many answers hold it; see `find_unsafe_content`."""
    found = Counter(name for answer in answers for name in find_unsafe_content(answer))
    return {name: found[name] for name in COUNTED}


def describe_counts(counts: Mapping[str, int]) -> str:
    """Returns counts in words: `4 with a dose, 1 with a definitive diagnosis, 0 with talk out of care`."""
    return ", ".join(f"{counts[name]:,} with {words}" for name, words in COUNTED.items())
