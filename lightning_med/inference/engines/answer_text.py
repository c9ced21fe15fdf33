"""The text of an answer while it is written: what of it is certain, and when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_med.inference.generation import remove_control_characters

if TYPE_CHECKING:
    from lightning_med.tokenization.encoder import Encoder

_REPLACEMENT = "\ufffd"  # stands at the end of a text whose last character has not all of its bytes yet


class AnswerText:
    """Decodes an answer token by token.

    Args:
        encoder: Of the network.

    Attributes:
        text: All that was decoded.
        is_over: Whether an end token or a new turn came.
        ended: Whether it was an end token.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._prompt, self._stops = encoder.prompt, frozenset(encoder.stops)
        self._decode = encoder.tokenizer.backend_tokenizer.decode
        self._ids: list[int] = []
        self.text = ""
        self.is_over = self.ended = False

    def add(self, token: int) -> None:
        """Adds a token; nothing may be added to an answer that is over."""
        if token in self._stops:
            self.is_over = self.ended = True
            return
        self._ids.append(token)
        self.text = remove_control_characters(self._decode(self._ids, skip_special_tokens=True))
        self.is_over = self._prompt.find_turn(self.text) is not None

    @property
    def answer(self) -> str:
        """The answer so far, without a turn that it starts."""
        return self._prompt.cut_to_first_turn(self.text)

    @property
    def certain(self) -> str:
        """The beginning of `answer` that no further token changes: without what may become a turn or a character."""
        if self.is_over:
            return self.answer
        text = self._prompt.cut_possible_turn(self.text.rstrip(_REPLACEMENT))
        return text.strip()
