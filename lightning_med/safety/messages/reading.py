"""A message as the rules read it: words, concepts, and what speaks against each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from lightning_med.safety.messages.danger_rules import Place, Places, Rulebook
from lightning_med.safety.messages.negation import IN_DOUBT, Stance, read_stance
from lightning_med.safety.messages.normalization import normalize
from lightning_med.safety.messages.phrase_matcher import Mention
from lightning_med.safety.messages.word_split import Word, split_words

_END = 50_000  # characters of a very long message that are read at either end


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


def read_message(text: str, rules: Rulebook) -> Reading:
    """Reads a message: words, concepts, what speaks against each; of one longer than any person types, both ends."""
    simple = normalize(text)
    if len(simple) > 2 * _END:
        simple = f"{simple[:_END]}\n{simple[-_END:]}"
    message = split_words(simple)
    found = list(rules.lexicon.mentions(message))
    holds = read_stance(message, (one for one in found if one.concept[0] == "@"))
    mentions = [one for one in found if one.concept[0] != "@"]
    return Reading(
        simple, message, mentions, [holds.of(one, one.concept in rules.background) for one in mentions], holds
    )
