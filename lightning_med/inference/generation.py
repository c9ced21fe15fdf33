"""Answers from a model: batched, left-padded, cached. The one generator of predict, sample answers and Responder."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast, StoppingCriteria

from lightning_med.model.causal_lm import get_context_length
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompts import PATIENT, cut_to_first_turn
from lightning_med.utils.errors import check_range


@dataclass(frozen=True)
class Decoding:
    """How an answer is chosen, word by word.

    Args:
        max_new_tokens: Tokens an answer may have.
        temperature: 0 takes the likeliest token each time, so that equal questions get equal answers; above 0 samples.
        top_p: Samples among the likeliest tokens that together have this probability (Holtzman et al., 2020).
        no_repeat_ngram_size: No run of so many tokens stands twice; small models otherwise go in circles. 0 for off.
    """

    max_new_tokens: int = 200
    temperature: float = 0.0
    top_p: float = 0.9
    no_repeat_ngram_size: int = 6

    def __post_init__(self) -> None:
        check_range("max_new_tokens", self.max_new_tokens, 1)
        check_range("temperature", self.temperature, 0)
        check_range("top_p", self.top_p, 0, 1)
        check_range("no_repeat_ngram_size", self.no_repeat_ngram_size, 0)

    def config(self, tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
        """The same, as a Hugging Face folder carries it."""
        sampling: dict[str, Any] = {"do_sample": False}
        if self.temperature > 0:
            sampling = {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p, "top_k": 0}
        return GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            no_repeat_ngram_size=self.no_repeat_ngram_size or None,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **sampling,
        )


class GenerationSpeed:
    """Tokens of answers a second, over all that was timed."""

    def __init__(self) -> None:
        self._tokens, self._seconds = 0, 0.0

    def timed(self, tokenizer: PreTrainedTokenizerFast, generate: Callable[[], list[str]]) -> list[str]:
        """Generates answers and counts what they say."""
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
    """Answers questions side by side.

    A question too long for the model's context is cut, so that its beginning and a whole answer fit.

    Args:
        network: In evaluation mode.
        encoder: Of the prompt and the tokenizer that the network was trained with.
        questions: At least one.
        decoding: How words are chosen.
        max_seconds: Stops after this time, with what is there by then.

    Returns:
        The answers, without the prompt and without end token; each ends where a new turn would begin.
    """
    context = get_context_length(network)
    # An answer may be set longer than the context: then it shares it with its question.
    longest = max(min(decoding.max_new_tokens, context // 2, context - encoder.prompt_length - 1), 1)
    room = context - longest - encoder.prompt_length
    prompts = [encoder.encode_question(question, room) for question in questions]
    tokenizer, width = encoder.tokenizer, max(map(len, prompts))
    ids = torch.full((len(prompts), width), tokenizer.pad_token_id, device=network.device)
    mask = torch.zeros_like(ids)
    for line, prompt in enumerate(prompts):
        ids[line, width - len(prompt) :] = torch.tensor(prompt, device=ids.device)
        mask[line, width - len(prompt) :] = 1
    config = replace(decoding, max_new_tokens=longest).config(tokenizer)
    config.max_time = max_seconds
    output = network.generate(  # type: ignore[operator]
        ids,
        attention_mask=mask,
        generation_config=config,
        stopping_criteria=[_StopAtNewTurn(tokenizer, width)],
    )
    texts = tokenizer.batch_decode(output[:, width:], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return [cut_to_first_turn(_remove_control_characters(text)) for text in texts]


def _remove_control_characters(text: str) -> str:
    """Without control characters, which an untrained model may write and a terminal would obey."""
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) != "Cc")


class _StopAtNewTurn(StoppingCriteria):
    """Ends an answer that begins to speak for the patient."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, prompt: int) -> None:
        self._turn = torch.tensor(tokenizer.encode(f"\n\n{PATIENT}", add_special_tokens=False))
        self._prompt = prompt

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        size = len(self._turn)
        if input_ids.shape[1] - self._prompt < size:
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        return (input_ids[:, -size:] == self._turn.to(input_ids.device)).all(dim=1)
