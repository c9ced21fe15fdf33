"""Training steps of a causal language model: the loss, its metrics, and a random state that a resumed fit repeats."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_med.inference.decoding import Decoding
from lightning_med.model.causal_lm import compute_nll
from lightning_med.training.evaluated_module import EvaluatedModule
from lightning_med.training.loss_monitor import LossMonitor, describe_rows
from lightning_med.training.optimization import optimizer as optim
from lightning_med.utils.console import say


class TrainedModule(EvaluatedModule):
    """Computes a step's loss as a mean over its answers' tokens, across its batches and ranks.

    Subclasses provide `network`, the optimizer and the hyperparameter `question_weight`.

    Args:
        decoding: How `predict` chooses an answer's tokens.
    """

    def __init__(self, decoding: Decoding) -> None:
        super().__init__(decoding)
        self.loss_monitor = LossMonitor(self._describe_rows)
        self.monitored: dict[str, float] = {}  # what was logged before this fit was interrupted
        self.was_stopping = False  # early stopping had asked for the end, and `min_steps` or `min_epochs` delayed it
        self._gradient_norm: Tensor | None = None
        self._is_untuned = False  # the network is as it was before any fine-tuning

    def _describe_rows(self, rows: list[int]) -> str:
        return describe_rows(self._data.store("train"), rows)

    @property
    def seed(self) -> int:
        """Of the weights and of dropout."""
        return int(os.environ.get("PL_GLOBAL_SEED", 0))

    @property
    def total_steps(self) -> int | None:
        """Optimizer steps of the whole fit; `None` where no number of epochs or steps ends it."""
        return optim.count_steps(self.trainer, self._data.count_steps)

    def begin_fit(self) -> None:
        """Forgets an earlier fit of this module; a checkpoint that is loaded afterwards brings its own state."""
        self.loss_monitor = LossMonitor(self._describe_rows)
        self.monitored, self.was_stopping, self.measured_at = {}, False, 0
        self.results.clear()

    def on_train_start(self) -> None:
        self._is_untuned = False

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        # Dropout is a function of the batch's position, not of what ran before it: a resumed fit draws the same.
        position = [self.seed, self.trainer.current_epoch, batch_idx, self.trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(position).generate_state(1, np.uint64)[0]))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        weight = float(self.hparams["question_weight"])
        total, nll = compute_nll(self.network, batch, weight)
        self.get_likelihood("train").update(nll.detach(), batch["answer_bytes"])
        share = total / (batch["window_answers"] + weight * batch["window_questions"])
        self.loss_monitor.add_batch(share, batch["rows"], batch["input_ids"].numel())
        # The trainer divides by the number of batches and ranks in a step; the step's mean divides by its tokens.
        return share * self.trainer.accumulate_grad_batches * self.trainer.world_size

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        scaled = optim.unscale_gradients(self.trainer, optimizer)
        self._gradient_norm = optim.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        self.loss_monitor.check_step(self.trainer.global_step + 1, self._gradient_norm, scaled)

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        # A logged point is a mean over all tokens since the last one. Only here a step waits for a number.
        if not optim.is_reported(self.trainer, batch_idx):
            return
        values, monitor = self.get_likelihood("train").compute(), self.loss_monitor
        is_logged = optim.is_log_step(self.trainer)  # else a fit that trains on must find its sums as they were
        if is_logged:
            self.get_likelihood("train").reset()
        if is_logged and monitor.detect_spike(values["loss"]):
            say(f"Step {self.trainer.global_step}: the loss rose to {values['loss']:.3f}.", self.trainer)
        self.log_dict({"train/spikes": float(monitor.spikes), "train/skipped": float(monitor.skipped)})
        norm = {} if self._gradient_norm is None else {"train/gradient_norm": self._gradient_norm}
        self.log_dict({"train/bits_per_byte": values["bits_per_byte"], "train/tokens": float(values["tokens"]), **norm})
        self.log_dict({f"train/{name}": values[name] for name in ("loss", "perplexity")}, prog_bar=True)
