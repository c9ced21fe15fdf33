"""A message prepared for the rules: its words, the concepts found in it, and which of them do not count."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from lightning_med.safety.messages.danger_rules import Rulebook
from lightning_med.safety.messages.negation import IN_DOUBT, WordContext, find_context
from lightning_med.safety.messages.normalization import normalize
from lightning_med.safety.messages.phrase_matcher import Mention
from lightning_med.safety.messages.word_split import Word, split_words

Place = tuple[int, int, str | None]  # first word of a mention, the word after its last, and why it is in doubt
Places = dict[str, list[Place]]  # by concept, in order
_MAX_HALF = 50_000  # characters: of a longer message only so many at each end are read


@dataclass(frozen=True)
class ParsedMessage:
    """A message prepared for the rules.

    Attributes:
        text: Normalized.
        words: Of the text.
        mentions: Of all concepts.
        reasons: Why each mention does not count; `None` if it counts.
        context: Why each word does not count.
    """

    text: str
    words: list[Word]
    mentions: list[Mention]
    reasons: list[str | None]
    context: WordContext

    @property
    def places(self) -> Places:
        """The mentions that count or are in doubt, by concept."""
        places: Places = defaultdict(list)
        for mention, reason in zip(self.mentions, self.reasons, strict=True):
            if reason is None or reason in IN_DOUBT:
                places[mention.concept].append((mention.start, mention.end, reason))
        return places

    @property
    def sentences(self) -> list[int]:
        """The number of each word's sentence."""
        number, numbers = 0, []
        for word in self.words:
            numbers.append(number)
            number += word.text == "."
        return numbers

    def quote(self, place: Place) -> str:
        """Returns the words of a place as written in the normalized text."""
        return self.text[self.words[place[0]].start : self.words[place[1] - 1].end]


def parse_message(text: str, rules: Rulebook) -> ParsedMessage:
    """Normalizes a message, splits it into words and finds the rules' concepts; reads a very long one at both ends."""
    text = normalize(text)
    if len(text) > 2 * _MAX_HALF:
        text = f"{text[:_MAX_HALF]}\n{text[-_MAX_HALF:]}"
    words = split_words(text)
    every = list(rules.matcher.find_mentions(words))
    context = find_context(words, (mention for mention in every if mention.concept[0] == "@"))
    mentions = [mention for mention in every if mention.concept[0] != "@"]
    reasons = [context.find_reason(mention, mention.concept in rules.background) for mention in mentions]
    return ParsedMessage(text, words, mentions, reasons, context)
