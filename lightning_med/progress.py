"""The console: one progress bar for work outside the trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def working(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error for work that may take over two seconds; it goes when the work is done.

    Yields:
        A function of (what is being done, how much is done, of how much); zeros where the end is not known.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda what, done, total: progress.update(
            task, description=f"{title}: {what}", completed=done, total=total or None
        )
