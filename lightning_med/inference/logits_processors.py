"""What the decoding settings do to the scores of the next token.

transformers' own processors of this kind count the prompt's tokens too, so that an answer would avoid the patient's
own words. These look at the answer alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, NoRepeatNGramLogitsProcessor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_WORD_STARTS = ("Ġ", "▁", " ")  # how vocabularies spell the space before a word


class AnswerRepetitionPenalty(LogitsProcessor):
    """Makes words less likely that the answer already has (Keskar et al., 2019, arXiv:1909.05858, section 4.1).

    A positive score is divided by the penalty, a negative one multiplied. Only `find_word_starts` are punished.

    Args:
        penalty: 1 changes nothing.
        prompt_length: Tokens of the padded prompts, which do not count.
        punished: Which tokens it applies to, `[vocabulary]`, bool.
    """

    def __init__(self, penalty: float, prompt_length: int, punished: Tensor) -> None:
        self._penalty, self._prompt_length, self._punished = penalty, prompt_length, punished

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        used = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, input_ids[:, self._prompt_length :], True)
        width = len(self._punished)  # the network may score more tokens than the tokenizer has
        used[:, :width] &= self._punished.to(scores.device)
        used[:, width:] = False
        punished = torch.where(scores < 0, scores * self._penalty, scores / self._penalty)
        return torch.where(used, punished, scores)


def find_word_starts(tokenizer: PreTrainedTokenizerFast, stops: list[int]) -> Tensor:
    """Finds the tokens that begin a word of at least four letters.

    The rest is never punished: end tokens, so that an answer can end; punctuation and figures; the pieces that go on
    with a word, so that the name of a drug is spelled alike each time; and most function words. People repeat those:
    docs/quality.md has figures.

    Args:
        tokenizer: Of the network.
        stops: Ids that an answer is over at.

    Returns:
        `[vocabulary]`, bool.
    """
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))  # `None` where the ids have a gap
    found = [
        bool(token) and token.startswith(_WORD_STARTS) and sum(map(str.isalpha, token[1:])) >= 4 and number not in stops
        for number, token in enumerate(tokens)
    ]
    return torch.tensor(found)


class AnswerNGrams(NoRepeatNGramLogitsProcessor):
    """Bans the tokens that would complete a sequence of tokens that the answer already has.

    Args:
        size: Tokens of a sequence.
        prompt_length: Tokens of the padded prompts, which do not count.
    """

    def __init__(self, size: int, prompt_length: int) -> None:
        super().__init__(size)
        self._prompt_length = prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return super().__call__(input_ids[:, self._prompt_length :], scores)  # type: ignore[arg-type]


class SeededDraw(LogitsProcessor):
    """Draws the next token of each row with random numbers of its own, and leaves it as the only possible one.

    By inverse transform sampling: one number a token. A row's numbers depend on the seed and on its prompt alone.

    Args:
        seed: At least 0.
        prompts: Token ids of each row's prompt, without padding.
        max_new_tokens: Longest answer.
        prompt_length: Tokens of the padded prompts.
    """

    def __init__(self, seed: int, prompts: list[list[int]], max_new_tokens: int, prompt_length: int) -> None:
        self._numbers = torch.from_numpy(np.stack([draw_numbers(seed, prompt, max_new_tokens) for prompt in prompts]))
        self._prompt_length = prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        numbers = self._numbers[:, input_ids.shape[1] - self._prompt_length, None].to(scores.device)
        cumulative = scores.float().softmax(-1).cumsum(-1)
        drawn = torch.searchsorted(cumulative, numbers * cumulative[:, -1:], right=True)
        return torch.full_like(scores, float("-inf")).scatter_(1, drawn, 0.0)


def draw_numbers(seed: int, prompt: list[int], count: int) -> np.ndarray:
    """Draws the random numbers of an answer, `[count]`, float32, from 0 to below 1 also when rounded."""
    return np.random.default_rng([seed, *prompt]).random(count, np.float32) * np.float32(1 - 1e-6)
