"""The position in the data at which a resumed fit continues, in batches of whole optimizer steps."""

from __future__ import annotations

from typing import Any


def restore_position(fit_loop: Any, before: int, window: int, last: int) -> int:
    """Returns the batches of this epoch that each rank has done, and sets the trainer's counts to it.

    Steps are the same for any number of ranks, so another number of ranks only changes how many batches a step takes.
    A checkpoint written in the middle of a step, as callbacks other than ours may do, has lost what the step had
    accumulated; that step is done again.

    Args:
        fit_loop: The trainer's.
        before: Batches of a step on each rank when the checkpoint was written.
        window: Batches of a step on each rank now.
        last: Batches of the epoch on each rank now.
    """
    epochs, progress = fit_loop.epoch_progress.current, fit_loop.epoch_loop.batch_progress
    # A checkpoint of an epoch's end continues with the whole next epoch.
    if progress.is_last_batch and epochs.processed == epochs.ready:
        return 0
    done = last if progress.is_last_batch else progress.current.ready // before * window
    moved = done - progress.current.ready
    for counts in (progress.current, progress.total) if moved else ():
        counts.ready += moved
        counts.started += moved
        counts.processed += moved
        counts.completed += moved
    return int(progress.current.ready)
