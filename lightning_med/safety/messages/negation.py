"""Which words of a message do not count: they are negated, past, hypothetical, or concern a relative.

After ConText (Harkema, Dowling, Thornblade, Chapman, 2009): trigger phrases, each with a scope, and phrases that end a
scope. The triggers are the `context` of the rules; their concepts begin with `@`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from lightning_med.privacy.word_lists import make_word_set
from lightning_med.safety.messages.phrase_matcher import Mention
from lightning_med.safety.messages.word_split import Word

NEGATED, PAST, HYPOTHETICAL = "negated", "past", "hypothetical"  # such words do not count
LASTING, FAMILY = "lasting", "family"  # such words are in doubt: unchanged for long, or a relative's history
IN_DOUBT = frozenset((LASTING, FAMILY))
_SCOPE = {"@negation": 6, "@hypothesis": 14}  # words after a trigger
_SCOPE_BEFORE = 8  # words before a trigger such as "has stopped" or "came back clear"
_LIST_CONTINUES = frozenset(("or", "nor"))
_NEW_SUBJECT = make_word_set("i he she my his her it they we the now but just this there its im")


@dataclass(frozen=True, slots=True)
class WordContext:
    """For each word of a message the reason why it does not count, or `None`; negations apart from other reasons."""

    other_reasons: list[str | None]
    negated: list[bool]

    @property
    def reasons(self) -> list[str | None]:
        """The reason of each word; a negation comes before any other."""
        return [
            NEGATED if negated else reason for negated, reason in zip(self.negated, self.other_reasons, strict=True)
        ]

    def find_reason(self, mention: Mention, background: bool) -> str | None:
        """Returns the reason of a mention; for background (a known illness, a medicine) only a negation counts."""
        if self.negated[mention.start]:
            return NEGATED
        return None if background else self.other_reasons[mention.start]


def find_context(words: list[Word], triggers: Iterable[Mention]) -> WordContext:
    """Applies the triggers of a message to its words.

    Args:
        words: Of the message.
        triggers: The mentions of concepts that begin with `@`.
    """
    by_concept: dict[str, list[Mention]] = {}
    for trigger in triggers:
        by_concept.setdefault(trigger.concept, []).append(trigger)

    turns = {mention.start for mention in by_concept.get("@turn", ())}

    def list_places(concept: str) -> set[int]:
        return {place for mention in by_concept.get(concept, ()) for place in range(mention.start, mention.end)}

    def list_scopes(concept: str, exceptions: set[int]) -> Iterator[int]:
        for mention in by_concept.get(concept, ()):
            if mention.start not in exceptions:
                yield from _find_scope(words, mention, turns, _SCOPE[concept])

    no_negation, no_hypothesis = list_places("@not_a_negation"), list_places("@not_a_hypothesis")
    reasons = _find_segment_reasons(words, by_concept, turns)
    for place in list_scopes("@hypothesis", no_hypothesis):
        reasons[place] = HYPOTHETICAL
    negated = [False] * len(words)
    for place in list_scopes("@negation", no_negation):
        negated[place] = True
    for mention in by_concept.get("@undone", ()):
        if mention.start not in no_negation:
            for place in _find_scope_before(words, mention, turns):
                negated[place] = True
    return WordContext(reasons, negated)


def _find_segment_reasons(words: list[Word], by_concept: dict[str, list[Mention]], turns: set[int]) -> list[str | None]:
    """Marks what is past, lasting or a relative's in the segments between full stops and turns ("but", "now")."""
    starts = [0, *(place + 1 for place, word in enumerate(words) if word.text == "."), *turns]
    starts += [
        place + 1
        for place, (word, following) in enumerate(pairwise(words))
        if word.text == "," and following.text in _NEW_SUBJECT
    ]
    segment = [0] * (len(words) + 1)
    for number, (start, end) in enumerate(pairwise(sorted({*starts, len(words)}))):
        segment[start:end] = [number] * (end - start)
    segments = {
        concept: {segment[mention.start] for mention in by_concept.get(concept, ())}
        for concept in ("@now", "@past", "@lasting", "@family")
    }
    reasons: list[str | None] = [None] * len(words)
    for place in range(len(words)):
        if segment[place] in segments["@now"]:
            continue
        for concept, reason in (("@past", PAST), ("@family", FAMILY), ("@lasting", LASTING)):
            if segment[place] in segments[concept]:
                reasons[place] = reason
                break
    return reasons


def _find_scope(words: list[Word], trigger: Mention, turns: set[int], size: int) -> Iterator[int]:
    """The words in a trigger's scope: it ends at a full stop or a turn, and at a comma unless a list continues."""
    left = size
    for place in range(trigger.end, len(words)):
        text = words[place].text
        if text in ".:" or place in turns or left == 0:
            return
        if text == ",":
            if not _list_continues(words, place + 1):
                return
            left = size
            continue
        if text == "and" and place + 1 < len(words) and words[place + 1].text in _NEW_SUBJECT:
            return
        left -= 1
        yield place


def _find_scope_before(words: list[Word], trigger: Mention, turns: set[int]) -> Iterator[int]:
    for place in range(trigger.start - 1, max(trigger.start - _SCOPE_BEFORE, 0) - 1, -1):
        if words[place].text == "." or place in turns:
            return
        yield place


def _list_continues(words: list[Word], place: int) -> bool:
    """Whether an "or" follows a comma before a new subject."""
    for word in words[place : place + 9]:
        if word.text in _LIST_CONTINUES:
            return True
        if word.text == "." or word.text in _NEW_SUBJECT:
            return False
    return False
