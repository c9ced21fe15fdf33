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


@contextmanager
def show_progress(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """Shows a progress bar on standard error for work that may take over two seconds; it vanishes at the end.

    Yields:
        A function of (what is being done, how much is done, of how much); zeros if the total is unknown.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda what, done, total: progress.update(
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
