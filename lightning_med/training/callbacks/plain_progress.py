"""Progress in plain lines, for a file, a CI job, or a terminal without a progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar, Timer

from lightning_med.training.optimization.optimizer import is_log_step, is_reported, is_step_end
from lightning_med.training.patches.loop import call_between_batches, stop_between_batches, will_fit_end
from lightning_med.utils.console import draws_bars, say

_EVALUATION_SECONDS = 30.0  # between two lines of a validation, test or predict


class PlainProgress(L.Callback):
    """Prints lines where no progress bar is drawn, on the first rank.

    - In a fit one line at each `log_every_n_steps`, one for the last step, and one after each validation.
    - One every 30 seconds of a validation, test or predict.

    The time left is that of the steps (or batches) so far of this process, validations among them, and at most what is
    left of `max_time`. The first step, which warms up, does not count.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._is_on = self._has_step = self._has_speed = False
        self._total: int | None = None  # optimizer steps of the fit
        self._first: tuple[float, int] | None = None  # when this process's first step ended, and its number
        self._rate = 0.0
        self._started = self._said = 0.0  # the evaluation, and its last line
        self._batches = 0  # of the evaluation

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._is_on = trainer.is_global_zero and not _shows_bar(trainer)
        if self._is_on and stage == "fit":
            call_between_batches(trainer, self._report_step, first=True)  # before one that stops the fit

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        stop_between_batches(trainer, self._report_step)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")  # Lightning calls no teardown then

    # ------------------------------------------------------------------ steps

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._total, self._first, self._has_step = pl_module.total_steps, None, False

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        if self._is_on:
            self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])  # a schedule moves on before the batch ends

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The step's loss is not logged yet: it is printed before a validation, or between the batches.
        self._has_step, self._has_speed = is_step_end(trainer, batch_idx), is_reported(trainer, batch_idx)
        if self._has_step and self._first is None:
            self._first = self._clock(), trainer.global_step

    def _report_step(self, trainer: L.Trainer) -> None:
        has_step, self._has_step, done = self._has_step, False, will_fit_end(trainer)
        if not has_step or not (done or is_log_step(trainer)):
            return
        metrics, step = trainer.callback_metrics, trainer.global_step
        loss = [f"loss {float(metrics['train/loss']):.3f}"] if "train/loss" in metrics else []
        speed = metrics.get("train/tokens_per_second") if self._has_speed else None
        left = None if done else self._estimate_left(trainer)
        parts = [
            *loss,
            f"rate {self._rate:.1e}",
            *([] if speed is None else [f"{float(speed):,.0f} tokens/s"]),
            *([] if left is None else [f"{_format_seconds(left)} left"]),
        ]
        of = f" of {self._total:,}" if self._has_end(step) else ""
        say(f"step {step:,}{of}: {', '.join(parts)}", trainer)

    def _has_end(self, step: int) -> bool:
        return self._total is not None and step <= self._total

    def _estimate_left(self, trainer: L.Trainer) -> float | None:
        """Returns the seconds that are left of the fit; `None` where nothing is measured yet, or no end is known."""
        timers = [one for one in trainer.callbacks if isinstance(one, Timer)]  # type: ignore[attr-defined]
        limits = [seconds for timer in timers if (seconds := timer.time_remaining()) is not None]
        if self._total is not None and self._has_end(trainer.global_step):
            if self._first is None or trainer.global_step <= self._first[1]:
                return None
            since, first = self._first
            step_seconds = (self._clock() - since) / (trainer.global_step - first)
            limits.append(step_seconds * (self._total - trainer.global_step))
        return max(min(limits), 0.0) if limits else None

    # ------------------------------------------------------------------ validation, test, predict

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._is_on and not trainer.sanity_checking:
            self._report_step(trainer)
        self._start_evaluation()

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start_evaluation()

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start_evaluation()

    def _start_evaluation(self) -> None:
        self._started = self._said = self._clock()
        self._batches = 0

    def on_validation_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        if not trainer.sanity_checking:
            self._report_batch(trainer, "validation", trainer.num_val_batches)

    def on_test_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        self._report_batch(trainer, "test", trainer.num_test_batches)

    def on_predict_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        self._report_batch(trainer, "predict", trainer.num_predict_batches, f", {pl_module.speed}")

    def _report_batch(self, trainer: L.Trainer, what: str, sizes: list[int | float], more: str = "") -> None:
        self._batches += 1
        now, total = self._clock(), sum(sizes)
        if not self._is_on or now - self._said < _EVALUATION_SECONDS or self._batches >= total:
            return
        self._said = now
        left = (now - self._started) / self._batches * (total - self._batches)
        known = total < float("inf")
        of, ending = (f" of {total:,}", f", {_format_seconds(left)} left") if known else ("", "")
        say(f"{what}: {self._batches:,}{of} batches{more}{ending}", trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        perplexity = trainer.callback_metrics.get("val/perplexity")
        if self._is_on and not trainer.sanity_checking and trainer.state.fn == "fit" and perplexity is not None:
            say(f"validation at step {trainer.global_step:,}: perplexity {float(perplexity):,.2f}", trainer)


def _shows_bar(trainer: L.Trainer) -> bool:
    """Returns whether a trainer's progress bar is seen; a bar that is not rich's draws itself into files too."""
    bar: Any = trainer.progress_bar_callback
    if bar is None or getattr(bar, "is_disabled", False):
        return False
    return draws_bars() or not isinstance(bar, RichProgressBar)


def _format_seconds(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
