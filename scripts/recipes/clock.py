"""Budgets of training: seconds of processor time, steps and tokens."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lightning_med.data.preparation.token_store import TokenStore

WARM_UP = 2  # steps before a step's duration is measured: they reserve memory
_VALIDATIONS = (4, 5, 3)  # in a run; the number that leaves the fewest steps over is taken


@dataclass
class ProcessorClock:
    """Counts a run's steps and the seconds that they take.

    A second is one of processor time (user and system, of all threads of this process) divided by the number of
    threads: about a second of wall time on a quiet machine, and hardly more on a busy one. Validation is not counted.

    Args:
        threads: That compute.

    Attributes:
        steps: So far.
        seconds: Processor time by thread, as far as the clock ran.
        wall: Seconds of wall time in which it ran.
        step_seconds: By step, from the end of the one before.
    """

    threads: int
    steps: int = 0
    seconds: float = 0.0
    wall: float = 0.0
    step_seconds: list[float] = field(default_factory=list)
    _since: tuple[float, float] | None = None
    _at_step: float = 0.0

    def run(self) -> None:
        """Starts the clock, unless it runs."""
        if self._since is None:
            self._since = self._read()

    def pause(self) -> None:
        """Stops the clock, if it runs."""
        if self._since is not None:
            now = self._read()
            self.seconds += (now[0] - self._since[0]) / self.threads
            self.wall += now[1] - self._since[1]
            self._since = None

    def count_step(self) -> None:
        """Counts a step that has ended; the clock runs on."""
        self.pause()
        self.run()
        self.steps += 1
        self.step_seconds.append(self.seconds - self._at_step)
        self._at_step = self.seconds

    def measure_step(self) -> float:
        """Returns the mean duration of a step after `WARM_UP`, in seconds."""
        return float(np.mean(self.step_seconds[WARM_UP:]))

    @staticmethod
    def _read() -> tuple[float, float]:
        return time.process_time(), time.perf_counter()


@dataclass
class TokenCount:
    """Rows and tokens that a run has seen.

    Attributes:
        rows: Consultations, each as often as it was seen.
        useful: Tokens of questions and answers.
        real: Tokens, those of the prompt included.
        computed: Tokens, padding included.
    """

    rows: int = 0
    useful: int = 0
    real: int = 0
    computed: int = 0

    def add_batch(self, store: TokenStore, rows: Iterable[int], width: int | None = None) -> None:
        """Adds a batch.

        Args:
            store: The training rows.
            rows: Numbers of the batch's rows.
            width: Tokens that each row is padded to; `None` for a batch without padding.
        """
        numbers = list(rows)
        real = int(store.lengths[numbers].sum())
        self.rows += len(numbers)
        self.useful += int(count_useful(store)[numbers].sum())
        self.real += real
        self.computed += real if width is None else width * len(numbers)


def count_useful(store: TokenStore) -> np.ndarray:
    """Returns the tokens of each row's question and answer, `[rows]`."""
    return np.sum(list(store.targets.values()), axis=0)


def choose_steps(seconds: float, step_seconds: float) -> int:
    """Returns the steps that fit into a budget, at least one of each validation."""
    return round_steps(int(seconds / step_seconds))


def round_steps(steps: int) -> int:
    """Returns the most steps, up to `steps`, that validations divide into equal parts; the last one is at the end."""
    return max(steps - steps % choose_validations(steps), min(_VALIDATIONS))


def choose_validations(steps: int) -> int:
    """Returns the number of validations in a run of so many steps."""
    return min(_VALIDATIONS, key=lambda count: steps % count)


def find_steps(data: Any, useful: int) -> int:
    """Returns the steps in which `fit` sees so many useful tokens, or as many less as a step and `round_steps` leave.

    Args:
        data: A `DialogueDataModule`; one batch is a step.
        useful: Tokens of questions and answers.
    """
    of_row, steps, epoch = count_useful(data.store("train")), 0, 0
    while True:
        for rows in data.plan_epoch(epoch):
            useful -= int(of_row[rows].sum())
            if useful < 0:
                return round_steps(steps)
            steps += 1
        epoch += 1
