"""Levels of danger, and which rules match a message."""

from __future__ import annotations

from lightning_med.safety.messages.danger_rules import Rulebook
from lightning_med.safety.messages.negation import FAMILY, IN_DOUBT
from lightning_med.safety.messages.reading import Reading

EMERGENCY, CRISIS, HARMFUL, URGENT, ORDINARY = "emergency", "crisis", "harmful", "urgent", "ordinary"

NOT_ENGLISH = "not_english"

HINT = "hint"  # what the rules leave to the classifier; no level of a verdict

_RANK = {EMERGENCY: 0, CRISIS: 1, HARMFUL: 2, URGENT: 3, HINT: 4}

Found = dict[str, tuple[str, tuple[str, ...]]]  # by category: its level and the words that decided


def match_rules(read: Reading, rules: Rulebook) -> Found:
    found: Found = {}
    places, sentences = read.places, read.sentences
    for name, category in rules.categories.items():
        for level, patterns in ((category.level, category.alarm), (URGENT, category.urgent), (HINT, category.hints)):
            for pattern in patterns:
                chosen = pattern.found(places, sentences)
                if chosen is None:
                    continue
                # A crisis is none the less one for lasting.
                doubts = {FAMILY} if level == CRISIS else IN_DOUBT
                doubtful = any(reason in doubts for _, _, reason in chosen)
                given = URGENT if doubtful and level in (EMERGENCY, CRISIS) else level
                if name not in found or _RANK[given] < _RANK[found[name][0]]:
                    found[name] = (given, tuple(dict.fromkeys(read.said(place) for place in chosen)))
                if given == category.level:
                    break
            if name in found and found[name][0] == category.level:
                break
    return found
