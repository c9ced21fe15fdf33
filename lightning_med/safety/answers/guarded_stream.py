"""The guard on an answer that is shown while it is written, sentence by sentence."""

from __future__ import annotations

import re
from dataclasses import replace

from lightning_med.privacy.signatures import STRONG, WEAK
from lightning_med.safety.answers.guard import (
    DISCLAIMER,
    MEDICINE_HINT,
    Guarded,
    clean_answer,
    guard,
    is_too_little,
    normalize_answer,
)
from lightning_med.safety.answers.unsafe_sentences import split_sentences
from lightning_med.safety.levels import URGENT
from lightning_med.safety.messages.advice import get_notice
from lightning_med.safety.messages.triage import Verdict

_FAREWELL = re.compile(rf"\b(?:{STRONG}|{WEAK}|best)\b|\b(?:Dr|Mrs?|Ms)\W*$|^\W*$", re.I)
_FAREWELL_WORDS = 8


class GuardedStream:
    """Guards an answer while it grows.

    What is given out, joined, is the answer that `guard` makes of the whole: a sentence is held back until the next
    one begins, and the first ones until enough of them may stay. If in spite of this a later sentence changes what is
    out already, the answer ends there with the fixed text that stands for an unsafe one.

    Args:
        question: The patient's words.
        verdict: Of `triage` on them; it lets a model answer.
        region: See `triage`.

    Attributes:
        verdict: As given.
    """

    def __init__(self, question: str, verdict: Verdict, region: str | None = None) -> None:
        self._question, self.verdict, self._region = question, verdict, region
        self._notice = f"{verdict.advice}\n\n" if verdict.level == URGENT else ""
        self._fixed = [normalize_answer(text) for text in (DISCLAIMER, verdict.advice) if text]
        self._shown = ""
        self._sentences = 0

    def extend(self, raw: str) -> str:
        """Returns what may be shown anew; at first the notice of an urgent question.

        Args:
            raw: The model's text so far.
        """
        start = self._notice if not self._shown else ""
        self._shown += start
        sentences = split_sentences(raw)[:-1]
        if len(sentences) <= self._sentences:
            return start
        self._sentences = len(sentences)
        text, _ = clean_answer(self._hold_back(sentences), self.verdict)
        text = text.removesuffix(MEDICINE_HINT).rstrip()
        whole = f"{self._notice}{text}"
        if is_too_little(text) or not whole.startswith(self._shown):
            return start
        new, self._shown = whole[len(self._shown) :], whole
        return start + new

    def finish(self, raw: str) -> tuple[str, Guarded]:
        """Returns the rest, with the disclaimer, and the guarded answer as it was shown.

        Args:
            raw: The whole text of the model.
        """
        guarded = guard(self._question, raw, self._region, self.verdict)
        if not guarded.answer.startswith(self._shown):
            actions = {**guarded.actions, "fallback": guarded.actions.get("fallback", 0) + 1}
            shown = f"{self._shown}\n\n{get_notice('safe_answer', self._region)}\n\n{DISCLAIMER}"
            guarded = replace(guarded, answer=shown, actions=actions)
        return guarded.answer[len(self._shown) :], guarded

    def _hold_back(self, sentences: list[str]) -> str:
        """Returns the text without an end that only becomes clear with what follows.

        That is a farewell or a title ("Best wishes,", "Dr."), which goes with the name after it, and the beginning of
        a fixed text that the model repeats, which goes as a whole.
        """
        count = len(sentences)
        while count and len(sentences[count - 1].split()) <= _FAREWELL_WORDS and _FAREWELL.search(sentences[count - 1]):
            count -= 1
        text = normalize_answer("".join(sentences[:count]))
        for fixed in self._fixed:
            start = max(len(text) - len(fixed) + 1, 0)
            while start < len(text) and not fixed.startswith(text[start:]):
                start = text.find(fixed[0], start + 1)
                start = len(text) if start < 0 else start
            text = text[:start]
        return text
