"""Output to the console: single lines, and a progress bar for work outside the trainer."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lightning_med.utils.ranks import is_first_rank

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
    with bars.Progress(*columns, console=console, transient=True, disable=not draws_bars(console)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda what, done, total: bar.update(
            task, description=f"{title}: {what}", completed=done, total=total or None
        )


def print_progress(progress: Progress, seconds: float = 30.0) -> Progress:
    """Returns a function that reports progress to a bar, and in lines on standard error where no bar can be drawn.

    Args:
        progress: Of `show_progress`.
        seconds: Between two lines.
    """
    said = time.monotonic()

    def report(what: str, done: int, total: int) -> None:
        nonlocal said
        progress(what, done, total)
        if time.monotonic() - said >= seconds and not sys.stderr.isatty():
            said = time.monotonic()
            share = f" ({done / total:.0%})" if total else ""
            print(f"{what}{share}", file=sys.stderr, flush=True)

    return report


def draws_bars(console: Console | None = None) -> bool:
    """Returns whether bars can be drawn: on a terminal that moves its cursor, or in a notebook with ipywidgets.

    A file is neither, also where `$FORCE_COLOR` has rich take it for a terminal. Without ipywidgets rich warns in a
    notebook at each change of a bar.

    Args:
        console: Where; default: standard output.
    """
    console = console or _make_console()
    if console.is_jupyter:
        return find_spec("ipywidgets") is not None
    return console.is_interactive and console.file.isatty()


def show(content: Any, trainer: Any = None, **options: Any) -> None:
    """Prints what rich can print, above the trainer's live progress bar if there is one, of rich or of tqdm.

    Args:
        content: A text or a table.
        trainer: Whose bar may be live.
        options: Of rich's `Console.print`.
    """
    live = getattr(getattr(trainer, "progress_bar_callback", None), "progress", None)
    console = live.console if live is not None else _make_console()
    with nullcontext() if trainer is None else _clear_bars():
        console.print(content, **options)


def say(text: str, trainer: Any = None) -> None:
    """Prints one line without markup, above the trainer's live progress bar if there is one; on the first rank only."""
    if is_first_rank():
        show(text, trainer, highlight=False, markup=False, soft_wrap=True)


def _clear_bars() -> AbstractContextManager[None]:
    """Returns a context without tqdm's bars; they are drawn again after it."""
    from tqdm import tqdm

    return tqdm.external_write_mode()  # type: ignore[no-any-return]


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
