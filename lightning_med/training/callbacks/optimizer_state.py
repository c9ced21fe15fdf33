"""What a resumed fit takes of its checkpoint's optimizer and schedules."""

from __future__ import annotations

import sys
from typing import Any

import lightning as L

from lightning_med.training.optimization.other_optimizers import MONITORED
from lightning_med.training.patches.loop import call_between_batches, has_epoch_ended, stop_between_batches
from lightning_med.training.sharding import ShardedStrategy
from lightning_med.utils.errors import InputError


def describe_optimizer(trainer: L.Trainer) -> str:
    """Returns the kinds of a trainer's optimizer and schedules, and the number of weights in each group."""
    described = []
    for optimizer in trainer.optimizers:
        groups = " and ".join(str(len(group["params"])) for group in optimizer.param_groups)
        described.append(f"{type(optimizer).__name__} of {groups} weights")
    kinds = [type(config.scheduler).__name__ for config in trainer.lr_scheduler_configs]
    return f"{', '.join(described)} with {', '.join(kinds) or 'a constant rate'}"


class OptimizerState(L.Callback):
    """Refuses a checkpoint of another optimizer; of our own optimizer, keeps today's settings.

    It also steps a `ReduceLROnPlateau` that monitors a validation before the checkpoint of its epoch's end is saved.
    Lightning does that after the save, and not at all in the first epoch after a resumption.
    """

    def __init__(self) -> None:
        self._here = self._there = ""  # descriptions of today's optimizer and of the checkpoint's
        self._plateaus: list[tuple[Any, int]] = []  # configurations, and after how many epochs each is stepped
        self._first_step = 0

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._here = describe_optimizer(trainer)
        self._compare()
        if isinstance(trainer.strategy, ShardedStrategy):
            trainer.strategy.check_content = self._check_content
        if pl_module.own_optimizer is not None:
            pl_module.own_optimizer.note_settings()

    def _compare(self) -> None:
        if self._there not in ("", self._here):
            raise InputError(
                f"The checkpoint's optimizer is {self._there}; this fit's is {self._here}.",
                "Resume with the checkpoint's, or begin a new run.",
            )

    def _check_content(self, content: dict[str, Any]) -> None:
        """Compares with a checkpoint that is loaded after `on_fit_start`, the optimizer's state before this one's."""
        self.load_state_dict(content["callbacks"][self.state_key])
        self._compare()

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if pl_module.own_optimizer is not None:
            pl_module.own_optimizer.keep_settings(trainer)
        self._first_step, self._plateaus = trainer.global_step, []
        for config in trainer.lr_scheduler_configs:
            if config.reduce_on_plateau and config.interval == "epoch" and config.monitor in MONITORED:
                self._plateaus.append((config, config.frequency))
                config.frequency = sys.maxsize  # so many epochs until Lightning steps it, too
        if self._plateaus:
            call_between_batches(trainer, self._step_plateaus, first=True)

    def _step_plateaus(self, trainer: L.Trainer) -> None:
        pl_module: Any = trainer.lightning_module
        # Where a fit resumes at an epoch's end, the loop passes here once without a batch.
        if not has_epoch_ended(trainer) or trainer.global_step == self._first_step:
            return
        for config, frequency in self._plateaus:
            value = pl_module.results.get(config.monitor)
            if value is not None and (trainer.current_epoch + 1) % frequency == 0:
                pl_module.lr_scheduler_step(config.scheduler, value)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        stop_between_batches(trainer, self._step_plateaus)
        if isinstance(trainer.strategy, ShardedStrategy):
            trainer.strategy.check_content = None

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")  # Lightning calls no teardown then

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self._here}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._there = str(state_dict["optimizer"])
