"""`--json`: one object on standard output, for a program that runs the command; all else goes to standard error."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from lightning_med.utils.output import format_json
from lightning_med.utils.ranks import is_first_rank

HELP = "print the result as one line of JSON on standard output, and all else on standard error"


@contextlib.contextmanager
def collect_result(as_json: bool) -> Iterator[dict[str, Any]]:
    """Prints what was collected as one line of JSON at the end, and sends what is printed before to standard error.

    Args:
        as_json: Without it nothing is diverted, and what is collected is not printed.

    Yields:
        The object to fill: paths, figures, texts. An error leaves it unprinted.
    """
    result: dict[str, Any] = {}
    output = sys.stdout
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield result
    if as_json and is_first_rank():
        print_object(result, output)


def print_object(content: dict[str, Any], output: TextIO) -> None:
    """Prints an object as one line of JSON."""
    print(format_json(make_plain(content), output), file=output, flush=True)


def make_plain(value: Any) -> Any:
    """Returns a value of JSON's kinds: paths as text, null for a number that is not finite, which JSON lacks."""
    if isinstance(value, dict):
        return {str(key): make_plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [make_plain(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
