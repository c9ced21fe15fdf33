"""Output to the console: single lines, and a progress bar for work outside the trainer."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

Progress = Callable[[str, int, int], None]  # what is being done, how much is done, of how much; 0, 0 if unknown


@contextmanager
def show_progress(title: str) -> Iterator[Progress]:
    """Shows a progress bar on standard error for work that may take over two seconds; it vanishes at the end.

    Yields:
        The function that reports progress.
    """
    from rich import progress as bars
    from rich.console import Console

    description = bars.TextColumn("{task.description}")
    columns = (bars.SpinnerColumn(), description, bars.BarColumn(), bars.TimeElapsedColumn())
    console = Console(stderr=True)
    with bars.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda what, done, total: bar.update(
            task, description=f"{title}: {what}", completed=done, total=total or None
        )


def get_console(trainer: Any = None) -> Console:
    """Returns a console that prints above the trainer's progress bar while that is live."""
    live = getattr(getattr(trainer, "progress_bar_callback", None), "progress", None)
    return live.console if live is not None else _make_console()


def say(text: str, trainer: Any = None) -> None:
    """Prints one line without markup, above the trainer's live progress bar if there is one; on the first rank only."""
    if not is_first_rank():
        return
    get_console(trainer).print(text, highlight=False, markup=False, soft_wrap=True)


def is_first_rank() -> bool:
    """Returns whether this process is the first of those that train together, as the launcher's variables say."""
    ranks = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return next((rank for rank in ranks if rank), "0") == "0"


def _make_console() -> Console:
    from rich.console import Console

    return Console()


def silence_warnings() -> None:
    """Hides messages of libraries that users cannot act on; other warnings stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*dataloader is not\\s+resumable.*",
        ".*Consider increasing the value of the `num_workers`.*",
        ".*smaller than the logging interval.*",
        ".*sync_dist=True.*",  # the metrics are summed over the ranks already
        ".*exists and is not empty.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*The dirpath has changed from.*",
        ".*callbacks used to create the checkpoint need.*",
        ".*Checkpoint directory .* exists.*",
    ):
        warnings.filterwarnings("ignore", message)
