"""Chooses the tokens of one answer, one after the other, from the scores that any engine computes.

The same steps as `Decoding.make_processors` takes for a batch, without the batch: answers begin and end at different
times here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_med.inference.logits_processors import draw_numbers

if TYPE_CHECKING:
    from lightning_med.inference.decoding import Decoding

_HEAD = 512  # likeliest tokens that are sorted first; a nucleus seldom needs more


class TokenChooser:
    """Chooses the tokens of an answer.

    Args:
        decoding: Decoding settings.
        prompt: Token ids of the prompt, on which the random numbers depend.
        punished: Which tokens the repetition penalty applies to, `[vocabulary]`, bool; see `find_word_starts`.

    Attributes:
        tokens: Of the answer so far.
    """

    def __init__(self, decoding: Decoding, prompt: list[int], punished: np.ndarray) -> None:
        self.tokens: list[int] = []
        self._decoding, self._punished = decoding, punished
        self._used: list[int] = []
        self._followers: dict[tuple[int, ...], list[int]] = {}  # of the tokens before them, which may not follow again
        if decoding.is_sampled:
            self._numbers = draw_numbers(decoding.sampling_seed, prompt, decoding.max_new_tokens)

    def choose(self, scores: np.ndarray) -> int:
        """Returns the next token and counts it.

        Args:
            scores: Of the tokens, `[vocabulary]`, float32; they are changed.
        """
        decoding, size = self._decoding, self._decoding.no_repeat_ngram_size
        if self._used:
            own = scores[self._used]
            penalty = decoding.repetition_penalty
            scores[self._used] = np.where(own < 0, own * penalty, own / penalty)
        if size and len(self.tokens) >= size - 1:
            scores[self._followers.get(self._get_last(size - 1), [])] = -np.inf
        token = self._draw(scores) if decoding.is_sampled else int(scores.argmax())
        self._count(token)
        return token

    def _get_last(self, count: int) -> tuple[int, ...]:
        return tuple(self.tokens[len(self.tokens) - count :])

    def _count(self, token: int) -> None:
        size = self._decoding.no_repeat_ngram_size
        if size and len(self.tokens) >= size - 1:
            self._followers.setdefault(self._get_last(size - 1), []).append(token)
        is_punished = token < len(self._punished) and self._punished[token]
        if self._decoding.repetition_penalty > 1 and is_punished and token not in self._used:
            self._used.append(token)
        self.tokens.append(token)

    def _draw(self, scores: np.ndarray) -> int:
        """Draws from the nucleus by inverse transform sampling, its tokens in the vocabulary's order."""
        decoding = self._decoding
        scores = scores / np.float32(decoding.temperature)
        shares = np.exp(scores - scores.max())
        kept = self._find_nucleus(shares) if decoding.top_p < 1 else np.arange(len(shares))
        if decoding.min_p:
            kept = kept[shares[kept] >= decoding.min_p]  # the likeliest token's share is 1
        kept.sort()
        cumulative = shares[kept].cumsum()
        place = cumulative.searchsorted(self._numbers[len(self.tokens)] * cumulative[-1], side="right")
        return int(kept[min(place, len(kept) - 1)])

    def _find_nucleus(self, shares: np.ndarray) -> np.ndarray:
        """The fewest likeliest tokens that together have `top_p`; of a flat distribution all are sorted."""
        needed = self._decoding.top_p * float(shares.sum(dtype=np.float64))
        for count in (min(_HEAD, len(shares)), len(shares)):
            head = np.argpartition(shares, len(shares) - count)[len(shares) - count :]
            head = head[np.argsort(-shares[head], kind="stable")]
            sums = shares[head].cumsum(dtype=np.float64)
            if sums[-1] >= needed or count == len(shares):
                break
        return head[: int(np.searchsorted(sums, needed)) + 1]
