"""The verdict on a message, before any model is asked: `triage`.

Rules over plain words, and beside them a linear classifier that can raise an alarm and never lower one. Not a medical
device: it misses some dangers and alarms at some harmless messages; docs/safety.md says how often.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from lightning_med.safety import advice, classifier
from lightning_med.safety.context import FAMILY, IN_DOUBT, Stance, stance
from lightning_med.safety.language import is_english
from lightning_med.safety.lexicon import Mention
from lightning_med.safety.plain import plain
from lightning_med.safety.rulebook import Place, Places, Rulebook, rulebook
from lightning_med.safety.words import Word, words

EMERGENCY, CRISIS, HARMFUL, URGENT, ORDINARY = "emergency", "crisis", "harmful", "urgent", "ordinary"
NOT_ENGLISH = "not_english"
_END = 50_000  # characters of a very long message that are read at either end
HINT = "hint"  # what the rules leave to the classifier; no level of a verdict
_RANK = {EMERGENCY: 0, CRISIS: 1, HARMFUL: 2, URGENT: 3, HINT: 4}


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


@dataclass(frozen=True)
class Reading:
    """A message as the rules read it.

    Attributes:
        text: In plain writing.
        words: Its words.
        mentions: Every concept found.
        reasons: Why each does not count; `None` where it does.
        stance: Why each word does not count.
    """

    text: str
    words: list[Word]
    mentions: list[Mention]
    reasons: list[str | None]
    stance: Stance

    @property
    def places(self) -> Places:
        """The mentions that count or are in doubt, by concept."""
        found: Places = defaultdict(list)
        for mention, reason in zip(self.mentions, self.reasons, strict=True):
            if reason is None or reason in IN_DOUBT:
                found[mention.concept].append((mention.start, mention.end, reason))
        return found

    @property
    def sentences(self) -> list[int]:
        """The number of each word's sentence."""
        number, numbers = 0, []
        for word in self.words:
            numbers.append(number)
            number += word.text == "."
        return numbers

    def said(self, place: Place) -> str:
        """The words of a place, as they stand in the text."""
        return self.text[self.words[place[0]].start : self.words[place[1] - 1].end]


def reading(text: str, rules: Rulebook) -> Reading:
    """Reads a message: words, concepts, what speaks against each; of one longer than any person types, both ends."""
    simple = plain(text)
    if len(simple) > 2 * _END:
        simple = f"{simple[:_END]}\n{simple[-_END:]}"
    message = words(simple)
    found = list(rules.lexicon.mentions(message))
    holds = stance(message, (one for one in found if one.concept[0] == "@"))
    mentions = [one for one in found if one.concept[0] != "@"]
    return Reading(
        simple, message, mentions, [holds.of(one, one.concept in rules.background) for one in mentions], holds
    )


def triage(text: str, region: str | None = None) -> Verdict:
    """The safety verdict on a message in English.

    Args:
        text: What a person typed.
        region: Whose emergency numbers the advice names, for instance `GB`; see `advice.region_of`.
    """
    rules = rulebook()
    read = reading(text, rules)
    ruled = by_rules(read, rules)
    found = dict(ruled)
    _raise(found, read, rules)
    if not _levels(found) & {EMERGENCY, CRISIS} and not is_english(text, read.words):
        found = {**ruled, NOT_ENGLISH: (URGENT, ())}  # what the classifier makes of another language is chance
    return _judged({name: one for name, one in found.items() if one[0] != HINT}, region)


Found = dict[str, tuple[str, tuple[str, ...]]]  # by category: its level and the words that decided


def by_rules(read: Reading, rules: Rulebook) -> Found:
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


def _raise(found: Found, read: Reading, rules: Rulebook) -> None:
    """What the classifier sees and the rules missed; it never lowers a level."""
    model = classifier.model()
    chances = model.chances(classifier.features(read, found))
    by_level = {
        level: {name: chances.get(name, 0.0) for name, category in rules.categories.items() if category.level == level}
        for level in (EMERGENCY, CRISIS, HARMFUL)
    }

    def note(names: dict[str, float], level: str) -> None:
        name = max(names, key=names.__getitem__)
        if name not in found or _RANK[level] < _RANK[found[name][0]]:
            found[name] = (level, tuple(model.telling(read, name)))

    dangers = {**by_level[EMERGENCY], **by_level[CRISIS]}
    for level in (EMERGENCY, CRISIS):  # each for itself, so that a message that is both shows both advices
        if sum(by_level[level].values()) > model.limits["alarm"] and level not in _levels(found):
            note(by_level[level], level)
    if not _levels(found) & {EMERGENCY, CRISIS}:
        if sum(dangers.values()) > model.limits["alarm"]:
            level = max((EMERGENCY, CRISIS), key=lambda one: sum(by_level[one].values()))
            note(by_level[level], level)
        elif sum(dangers.values()) + chances.get(URGENT, 0.0) > model.limits["urgent"]:
            note(dangers, URGENT)
    if sum(by_level[HARMFUL].values()) > model.limits["harmful"] and HARMFUL not in _levels(found):
        note(by_level[HARMFUL], HARMFUL)


def _levels(found: Found) -> set[str]:
    return {level for level, _ in found.values()}


def _judged(found: Found, region: str | None) -> Verdict:
    if not found:
        return Verdict(ORDINARY)
    names = sorted(found, key=lambda name: _RANK[found[name][0]])
    level = found[names[0]][0]
    # A refusal keeps the advice to seek care beside it; an alarm says more than that advice.
    kept = [name for name in names if found[name][0] != URGENT or level in (URGENT, HARMFUL)]
    evidence = tuple(dict.fromkeys(words for name in kept for words in found[name][1]))
    shown = advice.shown([(name, found[name][0]) for name in kept], region)
    return Verdict(level, kept[0], tuple(kept), shown, evidence)
