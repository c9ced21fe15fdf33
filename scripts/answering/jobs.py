"""What every program of the benchmark is given, and what it measures."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lightning_med.utils.errors import UserError

_WARM_TOKENS = 4  # of each answer before the clock runs: kernels and caches are made for the number of rows


class Skipped(UserError):
    """A program that cannot take part: it is not installed, or does not start."""


@dataclass(frozen=True)
class QuestionSet:
    """Questions that are asked at once, each also as the ids of its prompt."""

    questions: list[str]
    prompts: list[list[int]]

    def take(self, count: int) -> QuestionSet:
        """Returns the first questions."""
        return QuestionSet(self.questions[:count], self.prompts[:count])


@dataclass(frozen=True)
class Job:
    """What is asked of whom.

    Attributes:
        model: Folder of an export.
        gguf: The same with 8-bit weights, where llama.cpp is installed and knows the network.
        tokens: Of each answer.
        threads: Of each program.
        serve: More options of `lightning-med serve`.
        warm: Questions that are asked before the clock runs.
        sets: Questions by the number of streams; no question is in two sets, as engines keep what they have read.
    """

    model: str
    gguf: str | None
    tokens: int
    threads: int
    serve: list[str]
    warm: QuestionSet
    sets: list[QuestionSet]

    @property
    def slots(self) -> int:
        """The largest number of streams."""
        return max(len(one.prompts) for one in self.sets)

    def write(self, path: Path) -> None:
        """Writes it as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Job:
        """Reads what `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        warm, sets = QuestionSet(**content.pop("warm")), [QuestionSet(**one) for one in content.pop("sets")]
        return cls(warm=warm, sets=sets, **content)


@dataclass
class Writing:
    """An answer; times are those of `time.perf_counter`."""

    text: str = ""
    tokens: int = 0
    first: float | None = None
    last: float = 0.0

    def note(self) -> None:
        """Notes that there is more of it now."""
        self.last = time.perf_counter()
        if self.first is None:
            self.first = self.last


class Program(Protocol):
    """Something that answers.

    Attributes:
        pid: Of the process that does it; None for this one.
    """

    pid: int | None

    def write(self, asked: QuestionSet, tokens: int) -> list[Writing]:
        """Answers some questions side by side, without a choice of tokens but the likeliest."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


@dataclass
class Measurement:
    """Figures of some streams side by side.

    Attributes:
        streams: How many.
        tokens: Of all answers.
        seconds: From the questions to the last token of the last answer.
        firsts: Seconds to the first text of each answer.
        gap: Mean seconds between two tokens of an answer.
        answers: Their texts.
    """

    streams: int
    tokens: int
    seconds: float
    firsts: list[float]
    gap: float
    answers: list[str] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Tokens a second, all streams together."""
        return self.tokens / self.seconds


def measure(program: Program, job: Job) -> list[Measurement]:
    """Lets a program answer all sets of questions, one set after the other."""
    return [_measure_set(program, job, asked) for asked in job.sets]


def _measure_set(program: Program, job: Job, asked: QuestionSet) -> Measurement:
    count = len(asked.prompts)
    program.write(job.warm.take(count), min(_WARM_TOKENS, job.tokens))
    start = time.perf_counter()
    writings = program.write(asked, job.tokens)
    seconds = time.perf_counter() - start
    firsts = [(writing.first or writing.last) - start for writing in writings]
    gaps = [
        (writing.last - start - first) / max(writing.tokens - 1, 1)
        for writing, first in zip(writings, firsts, strict=True)
    ]
    tokens, texts = sum(writing.tokens for writing in writings), [writing.text for writing in writings]
    return Measurement(count, tokens, seconds, firsts, sum(gaps) / count, texts)


def to_json(measurements: list[Measurement]) -> list[dict[str, Any]]:
    """Returns measurements for a file."""
    return [asdict(one) for one in measurements]
