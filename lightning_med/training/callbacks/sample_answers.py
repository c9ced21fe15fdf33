"""Sample answers: the same few validation questions, answered at each validation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from rich.markup import escape
from rich.table import Table

from lightning_med.inference.generation import GenerationSpeed, generate_answers
from lightning_med.safety import guard
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.safety.messages.advice import resolve_file_region
from lightning_med.training.sharding import ShardedStrategy
from lightning_med.utils.console import show
from lightning_med.utils.errors import check_range


class SampleAnswers(L.Callback):
    """Answers a fixed set of validation questions, to TensorBoard as text and to the console as a table.

    They are decoded with the run's settings, but for their length.

    Args:
        questions: How many; 0 for none.
        max_new_tokens: Longest answer, in tokens.
        max_seconds: Longest time of a round; an answer that is not ready by then is shown as far as it got.
    """

    def __init__(self, questions: int = 3, max_new_tokens: int = 96, max_seconds: float = 20.0) -> None:
        check_range("questions", questions, 0)
        check_range("max_new_tokens", max_new_tokens, 1)
        self.questions, self.max_new_tokens, self.max_seconds = questions, max_new_tokens, max_seconds

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking or not self.questions or not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        if isinstance(trainer.strategy, ShardedStrategy):
            return  # one rank alone cannot gather the weights
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        store = data.store("validation")
        # The same rows at each validation and in each run of one seed, so that progress can be read off them.
        rows = np.random.default_rng(data.seed).permutation(len(store))[: self.questions]
        texts = [store.texts(row) for row in rows]
        if not texts:
            return
        training = pl_module.network.training
        pl_module.network.eval()
        with torch.inference_mode(), trainer.precision_plugin.forward_context():
            decoding = replace(pl_module.decoding, max_new_tokens=self.max_new_tokens)
            questions, speed = [str(text["question"]) for text in texts], GenerationSpeed()
            answers = speed.measure(
                data.encoder.tokenizer,
                lambda: generate_answers(pl_module.network, data.encoder, questions, decoding, self.max_seconds),
            )
        pl_module.network.train(training)
        self._show(trainer, texts, answers, speed)

    def _show(
        self, trainer: L.Trainer, texts: list[dict[str, object]], answers: list[str], speed: GenerationSpeed
    ) -> None:
        title = f"Sample answers at step {trainer.global_step}, {speed}"
        table = Table(title=title, show_lines=True, title_justify="left")
        for name in ("question", "reference", "raw answer", "guarded answer"):
            table.add_column(name, overflow="fold", ratio=1)
        for number, (text, raw) in enumerate(zip(texts, answers, strict=True)):
            question, reference = str(text["question"]), str(text["answer"])
            guarded = guard(question, raw, resolve_file_region()).answer.removesuffix(DISCLAIMER).rstrip()
            table.add_row(*(_shorten(cell) for cell in (question, reference, raw, guarded)))
            step = f"at step {trainer.global_step}"
            parts = {"Question": question, "Reference": reference, f"Answer {step}": raw, f"Guarded {step}": guarded}
            page = "\n\n".join(f"**{heading}**\n\n{content}" for heading, content in parts.items())
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_text(f"samples/{number}", page, trainer.global_step)
        show(table, trainer)


def _shorten(text: str, limit: int = 240) -> str:
    return escape(text if len(text) <= limit else text[:limit] + " …")
