"""The clock of the benchmark: times updates inside a contender's process."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch

from training.rows import Work
from training.settings import WARM_UP, Settings


@dataclass
class Clock:
    """Times the updates after the first `WARM_UP`, and adds up their work.

    Args:
        settings: Settings of the benchmark.

    Attributes:
        updates: Updates so far.
        work: Work of the timed updates.
        seconds: Duration of the timed updates.
        memory: Peak of the memory that torch allocated on a GPU, in bytes; `None` on a CPU.
        ends: Unix time of the end of each update.
    """

    settings: Settings
    updates: int = 0
    work: Work = field(default_factory=Work)
    seconds: float = 0.0
    memory: int | None = None
    ends: list[float] = field(default_factory=list)
    _start: float = 0.0

    def count_update(self, work: Work) -> None:
        """Counts an update; to be called right after it."""
        self.updates += 1
        if WARM_UP < self.updates <= self.settings.total:
            self.work += work
        if self.updates in (WARM_UP, self.settings.total):
            cuda = self.settings.device.type == "cuda"
            if cuda:
                torch.cuda.synchronize()
            now = time.perf_counter()
            self.seconds, self._start = now - self._start, now
            self.memory = torch.cuda.max_memory_allocated() if cuda else None
        self.ends.append(time.time())

    @property
    def windows(self) -> dict[str, tuple[float, float]]:
        """Unix times between which the first and the last timed update ran."""
        return {"first": self._find_window(WARM_UP + 1), "last": self._find_window(self.settings.total)}

    def _find_window(self, update: int) -> tuple[float, float]:
        return self.ends[update - 2], self.ends[update - 1]
