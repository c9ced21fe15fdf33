"""Matching of the rules' patterns against a message."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator

from lightning_med.safety.levels import CRISIS, EMERGENCY
from lightning_med.safety.messages.danger_rules import Pattern, Rulebook
from lightning_med.safety.messages.negation import FAMILY, IN_DOUBT
from lightning_med.safety.messages.parsed_message import ParsedMessage, Place, Places

RuleMatches = dict[str, tuple[str, tuple[str, ...]]]  # by category: the level, and the words that matched
_NEAR, _PASSAGE = 6, 24  # words between the parts joined by `~` and by `&`
_MAX_MENTIONS = 400  # of one concept; bounds the work on adversarial messages


def match_rules(message: ParsedMessage, rules: Rulebook) -> RuleMatches:
    """Returns the categories whose patterns match a message, each with its level and the words that matched."""
    matches: RuleMatches = {}
    places, sentences = message.places, message.sentences
    for name, category in rules.categories.items():
        # What is unchanged for long, or a relative's, does not alarm. A crisis that has lasted for long is still one.
        doubts = {EMERGENCY: IN_DOUBT, CRISIS: {FAMILY}}.get(category.level, frozenset())
        for pattern in category.alarm:
            matched = _match_pattern(pattern, places, sentences, doubts)
            if matched is not None and not any(reason in doubts for _, _, reason in matched):
                matches[name] = category.level, tuple(dict.fromkeys(message.quote(place) for place in matched))
                break
    return matches


def _match_pattern(
    pattern: Pattern, places: Places, sentences: list[int], doubts: Collection[str]
) -> list[Place] | None:
    """The places that match a pattern, preferably without doubts; `None` if it does not match.

    Args:
        pattern: Of a rule.
        places: The mentions that count or are in doubt, by concept, in order.
        sentences: The number of each word's sentence.
        doubts: Reasons why a mention does not alarm.
    """
    if not pattern.needed <= places.keys():
        return None
    if any(reason is None for name in pattern.absent for _, _, reason in places.get(name, ())):
        return None
    matched: list[Place] = []
    for group in pattern.groups:
        best: list[Place] | None = None
        for candidate in _join_passages([_join_near(concepts, places, sentences) for concepts in group]):
            best = candidate
            if not any(reason in doubts for _, _, reason in candidate):
                break
        if best is None:
            return None
        matched += best
    return matched


def _join_near(concepts: tuple[str, ...], places: Places, sentences: list[int]) -> list[list[Place]]:
    """Every combination of mentions of the concepts in one sentence, a few words apart."""
    combinations = [[place] for place in places[concepts[0]][:_MAX_MENTIONS]]
    for concept in concepts[1:]:
        candidates = places[concept][:_MAX_MENTIONS]
        starts = [place[0] for place in candidates]
        extended: list[list[Place]] = []
        for combination in combinations:
            low, high = _find_span(combination)
            sentence = sentences[combination[0][0]]
            for place in candidates[max(bisect_left(starts, low - 2 * _NEAR - 12), 0) :]:
                if place[0] > high + _NEAR:
                    break
                apart = place[1] < low - _NEAR or sentences[place[0]] != sentence
                if not apart and all(place[:2] != other[:2] for other in combination):
                    extended.append([*combination, place])
            if len(extended) > _MAX_MENTIONS:
                break
        combinations = extended
    return combinations


def _join_passages(parts: list[list[list[Place]]]) -> Iterator[list[Place]]:
    """Every combination of one alternative of each part within a passage, without overlaps."""
    if not all(parts):
        return
    pending: list[tuple[int, list[Place]]] = [(0, [])]
    tried = 0
    while pending and tried < 10 * _MAX_MENTIONS:
        number, chosen = pending.pop()
        if number == len(parts):
            yield chosen
            continue
        for alternative in parts[number]:
            tried += 1
            if any(place[0] < other[1] and other[0] < place[1] for place in alternative for other in chosen):
                continue
            low, high = _find_span(alternative)
            chosen_low, chosen_high = _find_span(chosen) if chosen else (low, high)
            if low <= chosen_high + _PASSAGE and high >= chosen_low - _PASSAGE:
                pending.append((number + 1, [*chosen, *alternative]))


def _find_span(places: list[Place]) -> tuple[int, int]:
    return min(place[0] for place in places), max(place[1] for place in places)
