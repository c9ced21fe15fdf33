"""Generates answers with a network: batched, left-padded, with a key-value cache.

Prediction, sample answers and `Responder` all generate through `generate_answers`.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria

from lightning_med.inference.decoding import Decoding
from lightning_med.model.execution import get_context_length, use_native_attention
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompts import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_SEARCHED = 48  # last tokens in which a new turn is searched at each step; the finished answer is searched whole


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


@dataclass(frozen=True)
class GeneratedAnswer:
    """An answer as the network wrote it.

    Attributes:
        text: Without prompt and end token, cut where it starts a new turn.
        ended: Whether it wrote an end token, and no new turn, before the length or the time was over.
        tokens: Before the end token.
        is_cut: Whether the longest length ended it, where an engine or a server wrote it.
        prompt_tokens: Tokens that were read, where only the server that wrote it counts them; else 0.
    """

    text: str
    ended: bool
    tokens: int
    prompt_tokens: int = 0
    is_cut: bool = field(default=False, compare=False)


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
    return [answer.text for answer in generate_with_ends(network, encoder, questions, decoding, max_seconds)]


def generate_with_ends(
    network: PreTrainedModel,
    encoder: Encoder,
    questions: list[str],
    decoding: Decoding,
    max_seconds: float | None = None,
) -> list[GeneratedAnswer]:
    """Generates as `generate_answers` does, and says how each answer ended."""
    prompts, max_new_tokens = encode_prompts(network, encoder, questions, decoding)
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
    rows = output[:, width:].tolist()
    answers = [_cut_to_stop(row, encoder.stops) for row in rows]
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    results = []
    for text, answer, row in zip(map(remove_control_characters, texts), answers, rows, strict=True):
        # Padding may be an end token too, also after an answer that was stopped at a new turn.
        ended = len(answer) < len(row) and encoder.prompt.find_turn(text) is None
        results.append(GeneratedAnswer(encoder.prompt.cut_to_first_turn(text), ended, len(answer)))
    return results


def encode_prompts(
    network: PreTrainedModel, encoder: Encoder, questions: Sequence[str], decoding: Decoding
) -> tuple[list[list[int]], int]:
    """Returns the token ids of each question's prompt, and how many tokens its answer may have."""
    context = get_context_length(network)
    max_new_tokens = limit_new_tokens(context, encoder, decoding.max_new_tokens)
    question_tokens = context - max_new_tokens - encoder.prompt_length
    return [encoder.encode_question(question, question_tokens) for question in questions], max_new_tokens


def limit_new_tokens(context: int, encoder: Encoder, max_new_tokens: int) -> int:
    """Returns how many tokens an answer may have: `max_new_tokens`, but at most half of the context."""
    return max(min(max_new_tokens, context // 2, context - encoder.prompt_length - 1), 1)


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


def remove_control_characters(text: str) -> str:
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
