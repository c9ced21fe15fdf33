"""The text of an answer while it is written: what of it is certain, and when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_med.inference.generation import remove_control_characters
from lightning_med.tokenization.turn_markers import cut_beginning

if TYPE_CHECKING:
    from lightning_med.tokenization.encoder import Encoder

_REPLACEMENT = "\ufffd"  # stands at the end of a text whose last character has not all of its bytes yet


class AnswerText:
    """Decodes an answer token by token.

    Args:
        encoder: Of the network.
        stop_texts: Each ends the answer, and is no part of it.

    Attributes:
        text: All that was decoded.
        is_over: Whether an end token, a stop text or a new turn came.
        is_at_end_token: Whether it was an end token.
        ended: Whether it was an end token or a stop text.
    """

    def __init__(self, encoder: Encoder, stop_texts: Sequence[str] = ()) -> None:
        self._prompt, self._stops, self._stop_texts = encoder.prompt, frozenset(encoder.stops), stop_texts
        self._decode = encoder.tokenizer.backend_tokenizer.decode
        self._ids: list[int] = []
        self.text = ""
        self.is_over = self.is_at_end_token = self.ended = False

    def add(self, token: int) -> None:
        """Adds a token; nothing may be added to an answer that is over."""
        if token in self._stops:
            self.is_over = self.is_at_end_token = self.ended = True
            return
        self._ids.append(token)
        self.text = remove_control_characters(self._decode(self._ids, skip_special_tokens=True))
        self.is_over = self._prompt.find_turn(self.text) is not None
        places = [place for stop in self._stop_texts if (place := self.text.find(stop)) >= 0]
        if places:
            self.text = self.text[: min(places)]
            self.is_over, self.ended = True, self._prompt.find_turn(self.text) is None

    @property
    def answer(self) -> str:
        """The answer so far, without a turn that it starts."""
        return self._prompt.cut_to_first_turn(self.text)

    @property
    def certain(self) -> str:
        """The beginning of `answer` that no further token changes: without what may become a turn or a character."""
        if self.is_over:
            return self.answer
        text = self.text.rstrip(_REPLACEMENT)
        return cut_beginning(self._prompt.cut_possible_turn(text), self._stop_texts).strip()
