"""Consultations in tokens: exchanges, their parts, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PROMPT, QUESTION, ANSWER = 0, 1, 2  # parts: never in the loss; in the loss by `question_weight`; always in the loss
CYCLE = np.array([PROMPT, QUESTION, PROMPT, ANSWER], dtype=np.uint8)  # parts of one exchange, repeated for each


@dataclass
class EncodedConsultation:
    """Token ids of one consultation.

    Attributes:
        input_ids: `[length]`, integer.
        runs: Token counts of the segments in order; their parts repeat `CYCLE`.
        answer_bytes: UTF-8 bytes of the learned answers in `input_ids`, the denominator of bits per byte.
        cut: Whether tokens were removed to fit `max_length`.
        uncut_counts: Tokens of the questions, of the learned answers and of everything, before cutting.
    """

    input_ids: np.ndarray
    runs: list[int]
    answer_bytes: int
    cut: bool
    uncut_counts: tuple[int, int, int]

    @property
    def parts(self) -> np.ndarray:
        """`[length]`, uint8: `PROMPT`, also an answer that is not learned; `QUESTION`; `ANSWER`, also its end token."""
        return expand_runs(np.array(self.runs))


def expand_runs(runs: np.ndarray) -> np.ndarray:
    """Returns the part of each token, `[tokens]`, uint8, given the token counts of the segments, `[segments]`."""
    return np.repeat(np.resize(CYCLE, len(runs)), runs)


@dataclass(slots=True)
class Exchange:
    """Ids of the text before a question, the question, the text between, the answer and its end; text of the answer."""

    before: np.ndarray
    question: np.ndarray
    prefix: np.ndarray
    answer: np.ndarray
    end: np.ndarray
    text: str
    learned: bool = True

    @property
    def pieces(self) -> list[np.ndarray]:
        return [self.before, self.question, self.prefix, self.answer, self.end]

    @property
    def runs(self) -> list[int]:
        answer = len(self.answer) + len(self.end)
        last = [len(self.prefix), answer] if self.learned else [len(self.prefix) + answer, 0]
        return [len(self.before), len(self.question), *last]

    @property
    def answer_bytes(self) -> int:
        return len(self.text.encode("utf-8", "surrogatepass")) if self.learned else 0


def join_exchanges(
    exchanges: list[Exchange], max_length: int, cut_one: Callable[[Exchange, int], Exchange]
) -> EncodedConsultation:
    """Joins the exchanges of a conversation that fit; see `Encoder.encode`.

    Args:
        exchanges: Of one conversation.
        max_length: Tokens at most.
        cut_one: Cuts the first exchange by so many tokens, if it alone is too long.
    """
    pieces: list[np.ndarray] = []
    runs: list[int] = []
    answer_bytes, counts, cut = 0, [0, 0, 0], False
    for exchange in exchanges:
        lengths = exchange.runs
        counts = [counts[0] + lengths[1], counts[1] + lengths[3], counts[2] + sum(lengths)]
        cut = cut or counts[2] > max_length
        if cut and runs:
            continue
        if cut:
            exchange = cut_one(exchange, counts[2] - max_length)
        pieces += exchange.pieces
        runs += exchange.runs
        answer_bytes += exchange.answer_bytes
    return EncodedConsultation(np.concatenate(pieces), runs, answer_bytes, cut, (counts[0], counts[1], counts[2]))
