"""Prints the page of the trainer's options: what becomes of each argument, callback, logger and strategy of Lightning.

python scripts/list_trainer_options.py > docs/trainer_options.md
"""

from __future__ import annotations

import sys
from collections import Counter

from lightning_med.training.register.table import REGISTER, Kind, Option

_BEFORE = """# Options of Lightning's trainer

Every argument of `lightning.Trainer` 2.6 (`--trainer.NAME`), and every callback, logger, strategy, profiler and
plugin that Lightning ships, is in one of four classes. A test fails when a release of Lightning has one that this
page lacks.

- **honoured**: it does what Lightning's documentation says. A test compares the weights after 20 steps with a plain
  PyTorch loop, where the option changes them.
- **refused**: before any work, in two lines that name what to use instead. The note here is the second line.
- **indifferent**: losses, weights and the order of the rows do not depend on it. A test shows that.
- **not run here**: it is passed on to Lightning, and nobody has tried it with this package; the command says so, and
  names a package that it needs.

In all: {counts}. Classes of your own are taken as they are; a subclass of one of these is in the class of its parent.
From Python, `trainer.fit` checks callbacks, strategy, precision, loggers, profiler and numbers when it begins.

## What ends a fit

A fit is *finished* when the epochs (`max_epochs`) or optimizer steps (`max_steps`) that were asked for are done, or
when early stopping ended it; `--resume auto` then says so. A run that was killed, was sent a signal or ran out of its
time (`max_time`, `Timer`) is not finished: `--resume auto` goes on. The time counts for each command anew. A run that
was stopped early goes on if the settings of its callbacks have changed, for instance the patience.

A fit stops and validates only between two optimizer steps, from where a run can resume: a stop or a validation that
is due within a step waits for its end. The schedule's length is the number of steps that the loop will run, under all
limits and windows. Where nothing bounds it (`max_epochs: -1` without `max_steps`) the rate stays at its peak after
the warm-up, and a line says so.
"""


def _describe(option: Option) -> str:
    return f"{option.kind} | {option.note.rstrip('.')}"


def make_page() -> str:
    """Returns the page as Markdown."""
    counts = Counter(option.kind for part in REGISTER.values() for option in part.values())
    text = _BEFORE.format(counts=", ".join(f"{counts[kind]} {kind}" for kind in Kind))
    for kind, part in REGISTER.items():
        rows = "\n".join(f"| `{name}` | {_describe(option)} |" for name, option in part.items())
        text += f"\n## {kind.capitalize()}s\n\n| name | class | note |\n|---|---|---|\n{rows}\n"
    return text.replace("Strategys", "Strategies")


if __name__ == "__main__":
    sys.stdout.write(make_page())
