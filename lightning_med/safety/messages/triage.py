"""The verdict on a message, before any model is asked: `triage`.

Rules over plain words, and beside them a linear classifier that can raise an alarm and never lower one. Not a medical
device: it misses some dangers and alarms at some harmless messages; docs/safety.md says how often.
"""

from __future__ import annotations

from dataclasses import dataclass

from lightning_med.safety.messages import advice
from lightning_med.safety.messages.classifier import load_classifier
from lightning_med.safety.messages.classifier_features import extract_features
from lightning_med.safety.messages.danger_rules import Rulebook, load_rulebook
from lightning_med.safety.messages.language import is_english
from lightning_med.safety.messages.reading import Reading, read_message
from lightning_med.safety.messages.rule_matches import (
    _RANK,
    CRISIS,
    EMERGENCY,
    HARMFUL,
    HINT,
    NOT_ENGLISH,
    ORDINARY,
    URGENT,
    Found,
    match_rules,
)


@dataclass(frozen=True)
class Verdict:
    """What a message is taken for.

    Attributes:
        level: `emergency`, `crisis` and `harmful` get fixed words and no model; `urgent` is answered under a notice
            that says when to seek care; `ordinary` is answered.
        category: The first of the categories; empty where the level is ordinary.
        categories: All that were found, the gravest first.
        advice: What to show; empty where the level is ordinary.
        evidence: The words that decided, as the rules read them.
    """

    level: str
    category: str = ""
    categories: tuple[str, ...] = ()
    advice: str = ""
    evidence: tuple[str, ...] = ()

    @property
    def answerable(self) -> bool:
        """Whether a model may answer."""
        return self.level in (URGENT, ORDINARY)


def triage(text: str, region: str | None = None) -> Verdict:
    """The safety verdict on a message in English.

    Args:
        text: What a person typed.
        region: Whose emergency numbers the advice names, for instance `GB`; see `advice.region_of`.
    """
    rules = load_rulebook()
    read = read_message(text, rules)
    ruled = match_rules(read, rules)
    found = dict(ruled)
    _raise_levels(found, read, rules)
    if not _list_levels(found) & {EMERGENCY, CRISIS} and not is_english(text, read.words):
        found = {**ruled, NOT_ENGLISH: (URGENT, ())}  # what the classifier makes of another language is chance
    return _make_verdict({name: one for name, one in found.items() if one[0] != HINT}, region)


def _raise_levels(found: Found, read: Reading, rules: Rulebook) -> None:
    """What the classifier sees and the rules missed; it never lowers a level."""
    model = load_classifier()
    chances = model.compute_probabilities(extract_features(read, found))
    by_level = {
        level: {name: chances.get(name, 0.0) for name, category in rules.categories.items() if category.level == level}
        for level in (EMERGENCY, CRISIS, HARMFUL)
    }

    def note(names: dict[str, float], level: str) -> None:
        name = max(names, key=names.__getitem__)
        if name not in found or _RANK[level] < _RANK[found[name][0]]:
            found[name] = (level, tuple(model.find_evidence(read, name)))

    dangers = {**by_level[EMERGENCY], **by_level[CRISIS]}
    for level in (EMERGENCY, CRISIS):  # each for itself, so that a message that is both shows both advices
        if sum(by_level[level].values()) > model.limits["alarm"] and level not in _list_levels(found):
            note(by_level[level], level)
    if not _list_levels(found) & {EMERGENCY, CRISIS}:
        if sum(dangers.values()) > model.limits["alarm"]:
            level = max((EMERGENCY, CRISIS), key=lambda one: sum(by_level[one].values()))
            note(by_level[level], level)
        elif sum(dangers.values()) + chances.get(URGENT, 0.0) > model.limits["urgent"]:
            note(dangers, URGENT)
    if sum(by_level[HARMFUL].values()) > model.limits["harmful"] and HARMFUL not in _list_levels(found):
        note(by_level[HARMFUL], HARMFUL)


def _list_levels(found: Found) -> set[str]:
    return {level for level, _ in found.values()}


def _make_verdict(found: Found, region: str | None) -> Verdict:
    if not found:
        return Verdict(ORDINARY)
    names = sorted(found, key=lambda name: _RANK[found[name][0]])
    level = found[names[0]][0]
    # A refusal keeps the advice to seek care beside it; an alarm says more than that advice.
    kept = [name for name in names if found[name][0] != URGENT or level in (URGENT, HARMFUL)]
    evidence = tuple(dict.fromkeys(words for name in kept for words in found[name][1]))
    shown = advice.compose_advice([(name, found[name][0]) for name in kept], region)
    return Verdict(level, kept[0], tuple(kept), shown, evidence)
