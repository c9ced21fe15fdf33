"""Whether what a message mentions is said to be so, now, of someone who may need help.

After ConText (Harkema, Dowling, Thornblade, Chapman, 2009): triggers, how far they reach, and what ends their reach.
The triggers are phrases of the rules, found with all others; their concepts begin with `@`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from lightning_med.privacy.common_words import make_word_set
from lightning_med.safety.messages.phrase_matcher import Mention
from lightning_med.safety.messages.word_split import Word

NEGATED, PAST, HYPOTHETICAL = "negated", "past", "hypothetical"  # nothing that needs help now
LASTING, FAMILY = "lasting", "family"  # in doubt: long-standing without change, or a relative's past
IN_DOUBT = frozenset((LASTING, FAMILY))
_REACH = {"@negation": 6, "@hypothesis": 14}  # words after a trigger
_REACH_BACK = 8  # words before one that undoes what was said: "has stopped", "came back clear"
_LIST_GOES_ON = frozenset(("or", "nor"))
_NEW_SUBJECT = make_word_set("i he she my his her it they we the now but just this there its im")


@dataclass(frozen=True, slots=True)
class Stance:
    """What holds for each word: a reason why it does not count, or `None`."""

    reasons: list[str | None]
    negated: list[bool]

    @property
    def all(self) -> list[str | None]:
        """The reason against each word, a negation before all others."""
        return [NEGATED if no else reason for no, reason in zip(self.negated, self.reasons, strict=True)]

    def of(self, mention: Mention, background: bool) -> str | None:
        """The reason against a mention; of what is background (an illness, a medicine) only a negation counts."""
        if self.negated[mention.start]:
            return NEGATED
        return None if background else self.reasons[mention.start]


def read_stance(message: list[Word], triggers: Iterable[Mention]) -> Stance:
    """Reads the triggers of a message.

    Args:
        message: Its words.
        triggers: Those mentions whose concepts begin with `@`.
    """
    found: dict[str, list[Mention]] = {}
    for trigger in triggers:
        found.setdefault(trigger.concept, []).append(trigger)
    harmless = {at for one in found.get("@not_a_negation", ()) for at in range(one.start, one.end)}
    asking_help = {at for one in found.get("@not_a_hypothesis", ()) for at in range(one.start, one.end)}
    turns = {one.start for one in found.get("@turn", ())}
    reasons: list[str | None] = [None] * len(message)
    _read_by_segment(message, found, turns, reasons)
    for one in found.get("@hypothesis", ()):
        if one.start not in asking_help:
            for at in _find_scope(message, one, turns, _REACH["@hypothesis"]):
                reasons[at] = HYPOTHETICAL
    negated = [False] * len(message)
    for one in found.get("@negation", ()):
        if one.start not in harmless:
            for at in _find_scope(message, one, turns, _REACH["@negation"]):
                negated[at] = True
    for one in found.get("@undone", ()):
        if one.start in harmless:
            continue
        for at in range(one.start - 1, max(one.start - _REACH_BACK, 0) - 1, -1):
            if message[at].text == "." or at in turns:
                break
            negated[at] = True
    return Stance(reasons, negated)


def _read_by_segment(
    message: list[Word], found: dict[str, list[Mention]], turns: set[int], reasons: list[str | None]
) -> None:
    """Marks what is past, lasting or a relative's, in each stretch between full stops and turns ("but", "now")."""
    starts = [0, *(at + 1 for at, word in enumerate(message) if word.text == "."), *turns]
    starts += [
        at + 1 for at, (one, other) in enumerate(pairwise(message)) if one.text == "," and other.text in _NEW_SUBJECT
    ]
    borders = sorted({*starts, len(message)})
    segment = [0] * (len(message) + 1)
    for number, (start, end) in enumerate(pairwise(borders)):
        segment[start:end] = [number] * (end - start)
    kinds = {
        name: {segment[one.start] for one in found.get(name, ())} for name in ("@now", "@past", "@lasting", "@family")
    }
    for at in range(len(message)):
        if segment[at] in kinds["@now"]:
            continue
        for name, reason in (("@past", PAST), ("@family", FAMILY), ("@lasting", LASTING)):
            if segment[at] in kinds[name]:
                reasons[at] = reason
                break


def _find_scope(message: list[Word], trigger: Mention, turns: set[int], reach: int) -> Iterable[int]:
    """The words that a trigger reaches: no further than a full stop or a turn, over a comma only within a list."""
    left = reach
    for at in range(trigger.end, len(message)):
        text = message[at].text
        if text in ".:" or at in turns or left == 0:
            return
        if text == ",":
            if not _continues(message, at + 1):
                return
            left = reach  # the next member of the list
            continue
        if text == "and" and at + 1 < len(message) and message[at + 1].text in _NEW_SUBJECT:
            return
        left -= 1
        yield at


def _continues(message: list[Word], at: int) -> bool:
    """Whether a list goes on behind a comma: an "or" is to come before anyone is spoken of anew."""
    for word in message[at : at + 9]:
        if word.text in _LIST_GOES_ON:
            return True
        if word.text == "." or word.text in _NEW_SUBJECT:
            return False
    return False
