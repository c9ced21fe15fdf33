"""Validation, test and predict of a causal language model."""

from __future__ import annotations

from collections.abc import Callable, Container
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import lightning as L
from torch import nn
from transformers import PreTrainedModel

from lightning_med.inference.decoding import Decoding
from lightning_med.inference.generation import GenerationSpeed, generate_answers
from lightning_med.model.causal_lm import compute_nll
from lightning_med.model.perplexity import AnswerLikelihood
from lightning_med.training.callbacks.predictions import make_prediction


class EvaluatedModule(L.LightningModule):
    """Measures the likelihood of answers, over their tokens and ends only, and answers questions.

    Subclasses provide `network`.

    Args:
        decoding: How `predict` chooses an answer's tokens.

    Attributes:
        results: Metrics of the last evaluation by name, in float64.
        measured_at: The optimizer step of these results.
        answered: Numbers of test rows that need no answer of `predict`; a group of questions is passed over if all its
            rows are in it.
        speed: Of `predict`.
    """

    def __init__(self, decoding: Decoding) -> None:
        super().__init__()
        self.decoding = decoding
        parts = ("train", "val", "test", "base")  # with a suffix: a module may not have a submodule named `train`
        self.likelihoods = nn.ModuleDict({f"{part}_part": AnswerLikelihood() for part in parts})
        self.results: dict[str, float] = {}
        self.measured_at = 0
        self.answered: Container[int] = ()
        self.speed = GenerationSpeed()
        self._untuned: list[PreTrainedModel] = []  # at most one; in a list, so that it is no part of the state
        self._become_untuned: Callable[[], AbstractContextManager[None]] = nullcontext  # of an adapter run: without it

    @property
    def network(self) -> PreTrainedModel:
        """The transformers model."""
        raise RuntimeError(f"{type(self).__name__} provides no network.")

    @property
    def _data(self) -> Any:
        """The trainer's data module."""
        return self.trainer.datamodule  # type: ignore[attr-defined]

    def get_likelihood(self, part: str) -> AnswerLikelihood:
        """Returns the metric of `train`, `val`, `test`, or `base`, which is the untuned network on the test rows."""
        return self.likelihoods[f"{part}_part"]  # type: ignore[return-value]

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.get_likelihood("val").update(compute_nll(self.network, batch)[1], batch["answer_bytes"])

    def on_validation_epoch_end(self) -> None:
        self._report("val", "val/")

    def on_test_start(self) -> None:
        for network in self._untuned:
            network.to(self.device)  # type: ignore[arg-type]

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.get_likelihood("test").update(compute_nll(self.network, batch)[1], batch["answer_bytes"])
        for untuned in self._untuned:
            with self._become_untuned():
                self.get_likelihood("base").update(compute_nll(untuned, batch)[1], batch["answer_bytes"])

    def on_test_epoch_end(self) -> None:
        self._report("test", "test/")
        if self._untuned:
            self._report("base", "test/base_")

    def _report(self, part: str, prefix: str) -> None:
        values = {f"{prefix}{name}": value for name, value in self.get_likelihood(part).compute().items()}
        self.get_likelihood(part).reset()
        if self.trainer.sanity_checking:  # of a few batches, before the first step
            return
        self.results.update(values)
        self.measured_at = self.trainer.global_step
        shown = f"{prefix}perplexity"
        self.log_dict({name: float(value) for name, value in values.items() if name != shown})
        self.log(shown, values[shown], prog_bar=True)

    def predict_step(self, batch: list[dict[str, Any]], batch_idx: int) -> list[dict[str, Any]]:
        if all(row["number"] in self.answered for row in batch):
            return []
        encoder, questions = self._data.encoder, [str(row["question"]) for row in batch]
        generate = partial(generate_answers, self.network, encoder, questions, self.decoding)
        answers = self.speed.measure(encoder.tokenizer, generate)
        return [make_prediction(row, text) for row, text in zip(batch, answers, strict=True)]
