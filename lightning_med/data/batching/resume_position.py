"""The place in the data at which a run stands: a number of batches, counted in whole optimizer steps."""

from __future__ import annotations

from typing import Any


def restore_position(fit_loop: Any, before: int, window: int, last: int) -> int:
    """Batches of this epoch that a resumed fit has behind it on each rank; sets the trainer's counts to it.

    Steps are the same for any number of ranks, so another number of them only changes how many batches a step takes.
    A checkpoint written in the middle of a step, as another callback than ours may do, has lost what the step had
    accumulated: it is done anew.

    Args:
        fit_loop: The trainer's.
        before, window: Batches a step took on each rank when the checkpoint was written, and takes now.
        last: Batches of the epoch on each rank now.
    """
    epochs, progress = fit_loop.epoch_progress.current, fit_loop.epoch_loop.batch_progress
    # A checkpoint of an epoch's end goes on with the whole next epoch.
    if progress.is_last_batch and epochs.processed == epochs.ready:
        return 0
    done = progress.current.ready // before * window
    if progress.is_last_batch:
        done = last
    moved = done - progress.current.ready
    for counts in (progress.current, progress.total) if moved else ():
        counts.ready += moved
        counts.started += moved
        counts.processed += moved
        counts.completed += moved
    return int(progress.current.ready)
