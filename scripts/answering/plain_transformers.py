"""`generate` of transformers, without this package: all prompts in one padded batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, StoppingCriteria
from transformers.utils import logging

from answering.jobs import Job, QuestionSet, Writing


class _Clock(StoppingCriteria):
    """Notes when each token came, and stops nothing."""

    def __init__(self, writings: list[Writing]) -> None:
        self._writings = writings

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        for writing in self._writings:
            writing.note()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


class PlainTransformers:
    """A network of transformers.

    Args:
        job: With the export.
        weights: Their type.
    """

    pid = None

    def __init__(self, job: Job, weights: str) -> None:
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.set_num_threads(job.threads)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(job.model)
        self._network: Any = AutoModelForCausalLM.from_pretrained(job.model, dtype=getattr(torch, weights)).eval()
        self._network.generation_config = GenerationConfig()  # `generate` takes stops from it that it is not given

    def write(self, asked: QuestionSet, tokens: int) -> list[Writing]:
        """See `Program`."""
        width = max(map(len, asked.prompts))
        ids = torch.zeros((len(asked.prompts), width), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(asked.prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        writings = [Writing() for _ in asked.prompts]
        config = GenerationConfig(max_new_tokens=tokens, do_sample=False, pad_token_id=0)
        output = self._network.generate(
            ids, attention_mask=mask, generation_config=config, stopping_criteria=[_Clock(writings)]
        )
        for writing, row in zip(writings, output[:, width:].tolist(), strict=True):
            writing.tokens, writing.text = len(row), self._tokenizer.decode(row, skip_special_tokens=True)
        return writings

    def close(self) -> None:
        """See `Program`."""
