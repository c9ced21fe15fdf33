"""Decoding settings: how an answer's tokens are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from lightning_med.inference.logits_processors import (
    AnswerNGrams,
    AnswerRepetitionPenalty,
    SeededDraw,
    find_word_starts,
)
from lightning_med.utils.errors import check_range

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from lightning_med.tokenization.encoder import Encoder


_LOWEST_TEMPERATURE = 1e-3


@dataclass(frozen=True)
class Decoding:
    """Decoding settings of an answer.

    Args:
        max_new_tokens: Maximal tokens of an answer.
        temperature: 0 for greedy decoding, which is deterministic; above 0 for sampling. Below 0.001 it is greedy, too:
            the likeliest token has all of the probability, and scores would overflow.
        top_p: Nucleus sampling: samples from the most likely tokens that together have this probability (Holtzman et
            al., 2020, arXiv:1904.09751). Has no effect at temperature 0.
        no_repeat_ngram_size: No sequence of this many tokens occurs twice in an answer, which keeps small models from
            repeating themselves; 0 for off.
        min_p: Samples only from tokens that have at least this share of the most likely one's probability (Nguyen et
            al., 2024, arXiv:2407.01082), after `top_p`; 0 for off. Has no effect at temperature 0.
        repetition_penalty: Makes words less likely that the answer already has (Keskar et al., 2019, arXiv:1909.05858);
            1 for off. See `find_word_starts` for what is never punished.
        sampling_seed: Of sampled answers. An answer depends on it, the question, the network and the other settings;
            neither on the questions beside it nor on torch's random state, which stays as it was. Rounding may differ
            with the batch, and then, rarely, a token.
    """

    max_new_tokens: int = 200
    temperature: float = 0.0
    top_p: float = 0.9
    no_repeat_ngram_size: int = 6
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    sampling_seed: int = 0

    def __post_init__(self) -> None:
        check_range("max_new_tokens", self.max_new_tokens, 1)
        check_range("temperature", self.temperature, 0, 100)
        check_range("top_p", self.top_p, 0, 1)
        check_range("no_repeat_ngram_size", self.no_repeat_ngram_size, 0)
        check_range("min_p", self.min_p, 0, 1)
        check_range("repetition_penalty", self.repetition_penalty, 1, 2)
        check_range("sampling_seed", self.sampling_seed, 0)

    @property
    def is_sampled(self) -> bool:
        """Whether tokens are drawn at random; else the likeliest is taken."""
        return self.temperature >= _LOWEST_TEMPERATURE

    def make_generation_config(self, tokenizer: PreTrainedTokenizerFast, stops: list[int]) -> GenerationConfig:
        """Returns these settings as a configuration of transformers, with the tokenizer's special tokens.

        transformers alone counts the prompt's tokens as repeated ones, punishes any token, and keeps no seed.

        Args:
            tokenizer: Of the network.
            stops: Ids that an answer is over at; see `Encoder.stops`.
        """
        sampling: dict[str, Any] = {"do_sample": False}
        if self.is_sampled:
            sampling = {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p, "top_k": 0}
            sampling |= {"min_p": self.min_p} if self.min_p else {}
        return GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            no_repeat_ngram_size=self.no_repeat_ngram_size or None,
            repetition_penalty=float(self.repetition_penalty) if self.repetition_penalty > 1 else None,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=stops if len(stops) > 1 else stops[0],
            pad_token_id=tokenizer.pad_token_id,
            **sampling,
        )

    def make_processors(self, encoder: Encoder, prompts: list[list[int]]) -> LogitsProcessorList:
        """Returns what changes the scores at each step, to be followed by greedy decoding.

        Args:
            encoder: Of the network.
            prompts: Token ids of each row's prompt, without padding.
        """
        width, processors = max(map(len, prompts)), LogitsProcessorList()
        if self.repetition_penalty > 1:
            punished = find_word_starts(encoder.tokenizer, encoder.stops)
            processors.append(AnswerRepetitionPenalty(self.repetition_penalty, width, punished))
        if self.no_repeat_ngram_size:
            processors.append(AnswerNGrams(self.no_repeat_ngram_size, width))
        if self.is_sampled:
            processors.append(TemperatureLogitsWarper(float(self.temperature)))
            processors += [TopPLogitsWarper(self.top_p)] if self.top_p < 1 else []
            processors += [MinPLogitsWarper(self.min_p)] if self.min_p else []
            processors.append(SeededDraw(self.sampling_seed, prompts, self.max_new_tokens, width))
        return processors
