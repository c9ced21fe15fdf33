"""Checkpoints: each step's written once, whole, with `last` and `best` leading to one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from lightning_med.checkpoints import digests
from lightning_med.checkpoints.checkpoint_files import LAST, list_step_checkpoints, remove_leftovers
from lightning_med.checkpoints.writing import AtomicCheckpointIO
from lightning_med.training.lightning_patches import (
    call_between_batches,
    has_epoch_ended,
    is_at_step_boundary,
    is_fit_done,
)
from lightning_med.utils.errors import check_range
from lightning_med.utils.files import link_atomically

_MONITORED = "val/perplexity"


class Checkpoints(Checkpoint):
    """Keeps `checkpoints/step-N.ckpt`, each with its digest; `last.ckpt` and `best-N-PERPLEXITY.ckpt` lead to one.

    It saves at each epoch's end, after each validation that is the best so far, and at the end of the fit; only
    between two optimizer steps, in the background.

    Args:
        every_n_train_steps: Also save each so many optimizer steps.
        keep: How many of the latest to keep, beside the best; two, so that one is left if the other rots.
        keep_every_hours: Also keep one for each so many hours.
    """

    def __init__(
        self, every_n_train_steps: int | None = None, keep: int = 2, keep_every_hours: float | None = None
    ) -> None:
        check_range("checkpoint.keep", keep, 1)
        check_range("checkpoint.every_n_train_steps", 1 if every_n_train_steps is None else every_n_train_steps, 1)
        check_range("checkpoint.keep_every_hours", 1 if keep_every_hours is None else keep_every_hours, 0.01)
        self.every_n_train_steps, self.keep, self.keep_every_hours = every_n_train_steps, keep, keep_every_hours
        self.folder: Path | None = None  # default: `checkpoints` under the trainer's root
        self._saved = 0  # the last step that was saved
        self._best: dict[str, Any] = {}  # its `step` and `perplexity`
        self._improved = False  # by a validation since the last save

    # ------------------------------------------------------------------ when

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return  # a trial keeps nothing
        self.folder = self.folder or Path(trainer.default_root_dir) / "checkpoints"
        if trainer.is_global_zero:
            remove_leftovers(self.folder)
        if not isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO):
            trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        call_between_batches(trainer, partial(self._between, trainer))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        value = trainer.callback_metrics.get(_MONITORED)
        if trainer.sanity_checking or trainer.state.fn != "fit" or value is None or not is_at_step_boundary(trainer):
            return  # in the middle of a step there is no state that a run could go on from
        if float(value) < self._best.get("perplexity", float("inf")):
            self._best = {"step": trainer.global_step, "perplexity": float(value)}
            self._improved = True

    def _between(self, trainer: L.Trainer) -> None:
        io: Any = trainer.strategy.checkpoint_io
        io.failed()
        if not is_at_step_boundary(trainer):
            return
        due = self.every_n_train_steps and trainer.global_step % self.every_n_train_steps == 0
        if due or self._improved or has_epoch_ended(trainer) or is_fit_done(trainer):
            self.save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        io: Any = trainer.strategy.checkpoint_io
        io.wait()

    # ------------------------------------------------------------------ what

    def save(self, trainer: L.Trainer) -> Path:
        """Saves the state as it is between two steps, if it is not saved yet, and returns where."""
        assert self.folder is not None
        path = self.folder / f"step-{trainer.global_step}.ckpt"
        if self._saved != trainer.global_step:
            for logger in trainer.loggers:
                logger.save()  # a run that goes on from here finds its curves up to here
            self._saved, self._improved = trainer.global_step, False
            trainer.save_checkpoint(path, storage_options={"then": partial(self._settle, path, dict(self._best))})
        return path

    def _settle(self, path: Path, best: dict[str, Any]) -> None:
        """Once a checkpoint stands: lets the links lead to it, and removes those that are no longer to be kept."""
        folder = path.parent
        if best and path.name == f"step-{best['step']}.ckpt":
            name = f"best-{best['step']}-{best['perplexity']:.2f}.ckpt"
            link_atomically(folder / name, path)
            for other in folder.glob("best-*.ckpt"):
                if other.name != name:
                    other.unlink()
        link_atomically(folder / LAST, path)
        kept = {other.resolve() for other in (*folder.glob("best-*.ckpt"), folder / LAST)}
        found = list_step_checkpoints(folder)
        kept.update(other.resolve() for other in found[-self.keep :] + self._one_each_time(found))
        for other in found:
            if other.resolve() not in kept:
                other.unlink()
                digests.digest_path(other).unlink(missing_ok=True)

    def _one_each_time(self, found: list[Path]) -> list[Path]:
        """The first of each `keep_every_hours`."""
        first: dict[float, Path] = {}
        for path in found if self.keep_every_hours else ():
            first.setdefault(path.stat().st_mtime // (3600 * (self.keep_every_hours or 1)), path)
        return list(first.values())

    def state_dict(self) -> dict[str, Any]:
        return {"saved": self._saved, "best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved, self._best = int(state_dict["saved"]), dict(state_dict["best"])
