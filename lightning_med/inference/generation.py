"""Generates answers with a network: batched, left-padded, with a key-value cache.

Prediction, sample answers and `Responder` all generate through `generate_answers`.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    MinPLogitsWarper,
    StoppingCriteria,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from lightning_med.inference.logits_processors import (
    AnswerNGrams,
    AnswerRepetitionPenalty,
    SeededDraw,
    find_word_starts,
)
from lightning_med.model.execution import get_context_length, use_native_attention
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompts import Prompt
from lightning_med.utils.errors import check_range

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_SEARCHED = 48  # last tokens in which a new turn is searched at each step; the finished answer is searched whole


@dataclass(frozen=True)
class Decoding:
    """Decoding settings of an answer.

    Args:
        max_new_tokens: Maximal tokens of an answer.
        temperature: 0 for greedy decoding, which is deterministic; above 0 for sampling.
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
        check_range("temperature", self.temperature, 0)
        check_range("top_p", self.top_p, 0, 1)
        check_range("no_repeat_ngram_size", self.no_repeat_ngram_size, 0)
        check_range("min_p", self.min_p, 0, 1)
        check_range("repetition_penalty", self.repetition_penalty, 1, 2)
        check_range("sampling_seed", self.sampling_seed, 0)

    def make_generation_config(self, tokenizer: PreTrainedTokenizerFast, stops: list[int]) -> GenerationConfig:
        """Returns these settings as a configuration of transformers, with the tokenizer's special tokens.

        transformers alone counts the prompt's tokens as repeated ones, punishes any token, and keeps no seed.

        Args:
            tokenizer: Of the network.
            stops: Ids that an answer is over at; see `Encoder.stops`.
        """
        sampling: dict[str, Any] = {"do_sample": False}
        if self.temperature > 0:
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
        if self.temperature > 0:
            processors.append(TemperatureLogitsWarper(float(self.temperature)))
            processors += [TopPLogitsWarper(self.top_p)] if self.top_p < 1 else []
            processors += [MinPLogitsWarper(self.min_p)] if self.min_p else []
            processors.append(SeededDraw(self.sampling_seed, prompts, self.max_new_tokens, width))
        return processors


class GenerationSpeed:
    """Measures generated tokens per second over all calls of `measure`."""

    def __init__(self) -> None:
        self._tokens, self._seconds = 0, 0.0

    def measure(self, tokenizer: PreTrainedTokenizerFast, generate: Callable[[], list[str]]) -> list[str]:
        """Calls `generate`, adds its time and the tokens of its answers, and returns the answers."""
        start = time.perf_counter()
        answers = generate()
        self._seconds += time.perf_counter() - start
        self._tokens += sum(map(len, tokenizer(answers, add_special_tokens=False)["input_ids"]))
        return answers

    def __str__(self) -> str:
        return f"{self._tokens / max(self._seconds, 1e-9):,.0f} tokens/s"


def generate_answers(
    network: PreTrainedModel,
    encoder: Encoder,
    questions: list[str],
    decoding: Decoding,
    max_seconds: float | None = None,
) -> list[str]:
    """Generates the answers of a batch of questions.

    A question that is too long for the network's context loses its end, so that a whole answer fits.

    Args:
        network: In evaluation mode.
        encoder: With the prompt and the tokenizer that the network was trained with.
        questions: At least one.
        decoding: Decoding settings.
        max_seconds: Time limit; answers that are not complete by then are returned as they are.

    Returns:
        One answer per question, without prompt and end token, cut where it starts a new turn.
    """
    context = get_context_length(network)
    # `max_new_tokens` may exceed the context: the answer then gets at most half of it.
    max_new_tokens = max(min(decoding.max_new_tokens, context // 2, context - encoder.prompt_length - 1), 1)
    question_tokens = context - max_new_tokens - encoder.prompt_length
    prompts = [encoder.encode_question(question, question_tokens) for question in questions]
    tokenizer, width = encoder.tokenizer, max(map(len, prompts))
    ids = torch.full((len(prompts), width), tokenizer.pad_token_id, device=network.device)
    mask = torch.zeros_like(ids)
    for line, prompt in enumerate(prompts):
        ids[line, width - len(prompt) :] = torch.tensor(prompt, device=ids.device)
        mask[line, width - len(prompt) :] = 1
    decoding = replace(decoding, max_new_tokens=max_new_tokens)
    greedy = Decoding(max_new_tokens, no_repeat_ngram_size=0).make_generation_config(tokenizer, encoder.stops)
    greedy.max_time = max_seconds
    criteria = [_StopAtNewTurn(tokenizer, encoder.prompt, width)] if encoder.prompt.turn_markers else []
    with use_native_attention(network), _ignore_own_decoding(network):
        output = network.generate(  # type: ignore[operator]
            ids,
            attention_mask=mask,
            generation_config=greedy,
            logits_processor=decoding.make_processors(encoder, prompts),
            stopping_criteria=criteria,
        )
    answers = [_cut_to_stop(row, encoder.stops) for row in output[:, width:].tolist()]
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return [encoder.prompt.cut_to_first_turn(_remove_control_characters(text)) for text in texts]


@contextmanager
def _ignore_own_decoding(network: PreTrainedModel) -> Iterator[None]:
    """Sets the base's or the export's own settings aside: `generate` takes from them what it is not given."""
    own, network.generation_config = network.generation_config, GenerationConfig()
    try:
        yield
    finally:
        network.generation_config = own


def _cut_to_stop(ids: list[int], stops: list[int]) -> list[int]:
    """Cuts an answer before the first token that it is over at, which need not be special, and the padding after it."""
    return ids[: next((place for place, token in enumerate(ids) if token in stops), None)]


def _remove_control_characters(text: str) -> str:
    """Removes control characters: an untrained network may generate them, and a terminal would execute them."""
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) != "Cc")


class _StopAtNewTurn(StoppingCriteria):
    """Stops an answer that starts a new turn with a marker of ordinary text.

    Args:
        tokenizer: Decodes the last tokens.
        prompt: Finds the turn.
        prompt_length: Tokens of the padded prompts, which are not searched.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, prompt: Prompt, prompt_length: int) -> None:
        self._tokenizer, self._prompt, self._prompt_length = tokenizer, prompt, prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        start = max(input_ids.shape[1] - _SEARCHED, self._prompt_length)
        texts = self._tokenizer.batch_decode(input_ids[:, start:], clean_up_tokenization_spaces=False)
        before = "" if start == self._prompt_length else "\0"  # what is searched begins in the middle of a line then
        found = [self._prompt.find_turn(before + text) is not None for text in texts]
        return torch.tensor(found, device=input_ids.device)
