"""Checkpoints: each step's state written once, atomically, with the links `last.ckpt` and `best-*.ckpt` to it."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from lightning_med.checkpoints.checkpoint_files import CHECKPOINTS, LAST, list_step_checkpoints, remove_leftovers
from lightning_med.checkpoints.digests import get_digest_path
from lightning_med.checkpoints.writing import AtomicCheckpointIO
from lightning_med.training.patches.loop import (
    call_between_batches,
    has_epoch_ended,
    is_at_step_boundary,
    stop_between_batches,
    will_fit_end,
)
from lightning_med.utils.console import say
from lightning_med.utils.errors import check_range
from lightning_med.utils.files import link_atomically

_MONITORED = "val/perplexity"
_BEST = re.compile(r"best-\d+-[\d.]+\.ckpt|best-\d+-(inf|nan)\.ckpt")


class Checkpoints(Checkpoint):
    """Keeps `checkpoints/step-N.ckpt` with its digest; `last.ckpt` and `best-N-PERPLEXITY.ckpt` are links to one.

    Saves at each epoch's end, after each validation that is the best so far, and at the end of the fit. It saves only
    between two optimizer steps, in a background thread.

    In a program, `folder` says where they are, once the fit has begun: in `checkpoints` under the trainer's root
    folder. Where that has another fit's, `checkpoints-2` is taken, and so on; a fit that resumes from one of these
    folders goes on in it.

    Args:
        every_n_train_steps: Also save every so many optimizer steps.
        keep: How many of the latest to keep beside the best; two, so that one is left if the other is damaged.
        keep_every_hours: Also keep one for every so many hours.
    """

    def __init__(
        self, every_n_train_steps: int | None = None, keep: int = 2, keep_every_hours: float | None = None
    ) -> None:
        check_range("checkpoint.keep", keep, 1)
        check_range("checkpoint.every_n_train_steps", 1 if every_n_train_steps is None else every_n_train_steps, 1)
        check_range("checkpoint.keep_every_hours", 1 if keep_every_hours is None else keep_every_hours, 0.01)
        self.every_n_train_steps, self.keep, self.keep_every_hours = every_n_train_steps, keep, keep_every_hours
        self.folder: Path | None = None
        self._chooses_folder = True  # at the start of each fit
        self._saved_step = 0
        self._best: dict[str, Any] = {}  # `step` and `perplexity`
        self._improved = False  # by a validation since the last save

    def use_folder(self, folder: Path) -> None:
        """Sets where checkpoints are written; those that lie there are taken for this fit's, and may be replaced."""
        self.folder, self._chooses_folder = folder, False

    # ------------------------------------------------------------------ when to save

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return  # a trial run keeps nothing
        self._saved_step, self._best, self._improved = 0, {}, False  # a checkpoint brings its own
        if not isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO):
            trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        call_between_batches(trainer, self._save_if_due)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if self._chooses_folder and trainer.is_global_zero:  # here, as only now the trainer knows what is resumed
            self.folder = _choose_folder(trainer)
        self.folder = trainer.strategy.broadcast(self.folder)  # by every rank: the command sets it on rank 0 alone
        if trainer.is_global_zero and self.folder:
            remove_leftovers(self.folder)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        stop_between_batches(trainer, self._save_if_due)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")  # Lightning calls no teardown then

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        value = trainer.callback_metrics.get(_MONITORED)
        if trainer.sanity_checking or trainer.state.fn != "fit" or value is None or not is_at_step_boundary(trainer):
            return  # in the middle of a step there is no state to resume from
        if float(value) < self._best.get("perplexity", float("inf")):
            self._best = {"step": trainer.global_step, "perplexity": float(value)}
            self._improved = True

    def _save_if_due(self, trainer: L.Trainer) -> None:
        io: Any = trainer.strategy.checkpoint_io
        io.raise_if_failed()
        if not is_at_step_boundary(trainer):
            return
        due = self.every_n_train_steps and trainer.global_step % self.every_n_train_steps == 0
        if due or self._improved or has_epoch_ended(trainer) or will_fit_end(trainer):
            self.save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        io: Any = trainer.strategy.checkpoint_io
        io.wait()

    # ------------------------------------------------------------------ what is saved and kept

    def save(self, trainer: L.Trainer) -> Path:
        """Saves the state between two steps, unless this step is saved already, and returns the path."""
        assert self.folder is not None
        path = self.folder / f"step-{trainer.global_step}.ckpt"
        if self._saved_step != trainer.global_step:
            for logger in trainer.loggers:
                logger.save()  # a run that resumes from here finds its curves up to here
            self._saved_step, self._improved = trainer.global_step, False
            then = partial(self._update_links, path, dict(self._best))
            trainer.save_checkpoint(path, storage_options={"then": then})
        return path

    def _update_links(self, path: Path, best: dict[str, Any]) -> None:
        """Points the links to a checkpoint that has been written, and removes those that need not be kept."""
        folder = path.parent
        if best and path.name == f"step-{best['step']}.ckpt":
            name = f"best-{best['step']}-{best['perplexity']:.2f}.ckpt"
            link_atomically(folder / name, path)
            for other in folder.glob("best-*.ckpt"):
                if other.name != name and _BEST.fullmatch(other.name):  # not another program's
                    other.unlink()
        link_atomically(folder / LAST, path)
        kept = {other.resolve() for other in (*folder.glob("best-*.ckpt"), folder / LAST)}
        checkpoints = list_step_checkpoints(folder)
        kept.update(other.resolve() for other in checkpoints[-self.keep :] + self._select_hourly(checkpoints))
        for other in checkpoints:
            if other.resolve() not in kept:
                other.unlink()
                get_digest_path(other).unlink(missing_ok=True)

    def _select_hourly(self, checkpoints: list[Path]) -> list[Path]:
        """Returns the first checkpoint of each `keep_every_hours`."""
        first: dict[float, Path] = {}
        for path in checkpoints if self.keep_every_hours else ():
            first.setdefault(path.stat().st_mtime // (3600 * (self.keep_every_hours or 1)), path)
        return list(first.values())

    def state_dict(self) -> dict[str, Any]:
        return {"saved": self._saved_step, "best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved_step, self._best = int(state_dict["saved"]), dict(state_dict["best"])


def _choose_folder(trainer: L.Trainer) -> Path:
    """Returns the folder of the checkpoint that is resumed, or the first one without a checkpoint, and says so."""
    first = Path(trainer.default_root_dir) / CHECKPOINTS
    resumed = Path(trainer.ckpt_path).resolve().parent if trainer.ckpt_path else None
    folder, number = first, 1
    while folder.resolve() != resumed and any(folder.glob("*.ckpt")):
        number += 1
        folder = first.with_name(f"{CHECKPOINTS}-{number}")
    if number > 1 and folder.resolve() != resumed:
        say(f"Checkpoints go into {folder}: {first} has those of another fit.", trainer)
    return folder
