"""Sample answers: the same validation questions, answered at each validation; a few shown, more counted for safety."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
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
from lightning_med.safety.answers.unsafe_content import count_unsafe_content, describe_counts
from lightning_med.safety.messages.advice import resolve_file_region
from lightning_med.tokenization.consultation import QUESTION
from lightning_med.training.loggers.tracker import Tracker
from lightning_med.training.sharding import ShardedStrategy
from lightning_med.utils.console import say, show
from lightning_med.utils.errors import check_range

TAGS = {  # by name of `COUNTED`
    "dose": "safety/dose",
    "diagnosis": "safety/diagnosis",
    "discouragement": "safety/talked_out_of_care",
}
ANSWERS_TAG = "safety/answers"
_COLUMNS = ("question", "reference", "raw answer", "guarded answer")
_AT_ONCE = 16  # questions that are answered side by side, beside an optimizer's state in memory


class SampleAnswers(L.Callback):
    """Answers a fixed set of validation questions, at each validation and before the first step of a pretrained base.

    They are decoded with the run's settings, but for their length. The first few are shown, to TensorBoard as text and
    to the console as a table. Over all of them the scalars `safety/dose`, `safety/diagnosis` and
    `safety/talked_out_of_care` are the shares of answers, as the model wrote them, that hold such a thing;
    `safety/answers` is how many answers there are. The questions are the same at each point, so the curves start with
    the base's own shares.

    Args:
        questions: How many are shown; 0 for no sample answers at all.
        max_new_tokens: Longest answer, in tokens.
        max_seconds: Longest time of a round; a shown answer that is not ready by then is shown as far as it got, and
            nothing is counted.
        counted: Answers that are counted for the curves `safety/*`, those shown among them; 0 for no curves.
        tracked: Whether the trackers of `--logger` get the questions and answers that are shown, patients' words; by
            default those on this machine alone.
    """

    def __init__(
        self,
        questions: int = 3,
        max_new_tokens: int = 96,
        max_seconds: float = 60.0,
        counted: int = 32,
        tracked: bool | None = None,
    ) -> None:
        check_range("questions", questions, 0)
        check_range("max_new_tokens", max_new_tokens, 1)
        check_range("counted", counted, 0)
        self.questions, self.max_new_tokens = questions, max_new_tokens
        self.max_seconds, self.counted, self.tracked = max_seconds, counted, tracked

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        # What random weights write says nothing.
        if trainer.global_step == 0 and trainer.enable_validation and not pl_module.hparams.get("from_scratch"):
            self._run_round(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._run_round(trainer, pl_module)

    def _run_round(self, trainer: L.Trainer, pl_module: Any) -> None:
        if not self.questions or not trainer.is_global_zero or isinstance(trainer.strategy, ShardedStrategy):
            return  # of sharded weights one rank alone cannot gather them
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        store = data.store("validation")
        # The same rows at each validation and in each run of one seed, so that progress can be read off them.
        rows = np.random.default_rng(data.seed).permutation(len(store))[: max(self.questions, self.counted)]
        shown, more = rows[: self.questions], rows[self.questions :]
        more = more[np.argsort(store.targets[QUESTION][more], kind="stable")]  # those of similar length side by side
        texts = [store.texts(row) for row in (*shown, *more)]
        if not texts:
            return
        speed = GenerationSpeed()
        answers, is_complete = self._generate(trainer, pl_module, [str(text["question"]) for text in texts], speed)
        # As Lightning counts the steps of a validation's metrics: a run that resumes after it finds them logged.
        step = max(trainer.global_step - 1, 0)
        self._show(trainer, texts[: self.questions], answers[: self.questions], speed, step)
        if self.counted and is_complete:
            _count(trainer, answers[: self.counted], step)
        elif self.counted:
            hint = "raise --samples.max_seconds, or lower --samples.counted or max_new_tokens"
            say(f"Safety is not counted: {len(texts)} answers took over {self.max_seconds:g} s; {hint}.", trainer)

    def _generate(
        self, trainer: L.Trainer, pl_module: Any, questions: list[str], speed: GenerationSpeed
    ) -> tuple[list[str], bool]:
        """Returns the answers, those to be shown first, and whether all were ready in time."""
        network, encoder = pl_module.network, trainer.datamodule.encoder  # type: ignore[attr-defined]
        decoding = replace(pl_module.decoding, max_new_tokens=self.max_new_tokens)
        cuts = [0, *range(self.questions, len(questions), _AT_ONCE), len(questions)]
        answers: list[str] = []
        training, end = network.training, time.monotonic() + self.max_seconds
        network.eval()
        # In inference mode a network's first forward pass could leave buffers that no training step can use.
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            for group in (questions[first:last] for first, last in pairwise(cuts)):
                left = end - time.monotonic()
                if answers and left <= 0:
                    break
                generate = partial(generate_answers, network, encoder, group, decoding, left)
                answers += speed.measure(encoder.tokenizer, generate)
        network.train(training)
        return answers, time.monotonic() < end

    def _show(
        self, trainer: L.Trainer, texts: list[dict[str, object]], answers: list[str], speed: GenerationSpeed, step: int
    ) -> None:
        title = f"Sample answers at step {trainer.global_step}, {speed}"
        table = Table(title=title, show_lines=True, title_justify="left")
        for name in _COLUMNS:
            table.add_column(name, overflow="fold", ratio=1)
        samples = []
        for number, (text, raw) in enumerate(zip(texts, answers, strict=True)):
            question, reference = str(text["question"]), str(text["answer"])
            guarded = guard(question, raw, resolve_file_region()).answer.removesuffix(DISCLAIMER).rstrip()
            cells = (question, reference, raw, guarded)
            table.add_row(*map(_shorten, cells))
            samples.append(dict(zip(_COLUMNS, cells, strict=True)))
            when = f"at step {trainer.global_step}"
            parts = {"Question": question, "Reference": reference, f"Answer {when}": raw, f"Guarded {when}": guarded}
            page = "\n\n".join(f"**{heading}**\n\n{content}" for heading, content in parts.items())
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_text(f"samples/{number}", page, step)
        for tracker in trainer.loggers if samples else ():
            if isinstance(tracker, Tracker) and tracker.takes_samples(self.tracked):
                tracker.log_samples(samples, step)
        show(table, trainer)


def _count(trainer: L.Trainer, answers: list[str], step: int) -> None:
    """Logs the shares of answers with unsafe content to all loggers, and says the counts."""
    counts = count_unsafe_content(answers)
    shares = {TAGS[name]: count / len(answers) for name, count in counts.items()}
    for logger in trainer.loggers:
        logger.log_metrics({**shares, ANSWERS_TAG: float(len(answers))}, step)
        logger.save()
    say(f"Of {len(answers)} sample answers as the model wrote them: {describe_counts(counts)}.", trainer)


def _shorten(text: str, limit: int = 240) -> str:
    return escape(text if len(text) <= limit else text[:limit] + " …")
