"""Medians, ratios and tables of the benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

from answering.memory import WEIGHT_BYTES
from answering.programs import PROGRAMS
from answering.rounds import Runs

REFERENCE, EXACT, OURS, BOUND = "generate-bfloat16", "generate-float32", "ours-llama", "llama"


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Returns the median, the least and the greatest."""
        return cls(median(values), min(values), max(values))

    def show(self, digits: int = 1) -> str:
        """Returns it for a table."""
        return f"{self.middle:,.{digits}f} ({self.least:,.{digits}f} to {self.most:,.{digits}f})"


def list_speeds(runs: Runs, key: str, place: int) -> list[float]:
    """Returns the tokens a second of each round, for the number of streams at a place."""
    return [row[place].speed for row in runs.measurements[key]]


def compare(runs: Runs, key: str, other: str, place: int) -> Spread | None:
    """Returns how many times as fast a program is as another, round by round; None where one has no figures."""
    if key not in runs.measurements or other not in runs.measurements:
        return None
    pairs = zip(list_speeds(runs, key, place), list_speeds(runs, other, place), strict=True)
    return Spread.of([one / two for one, two in pairs])


def make_report(runs: Runs, streams: list[int], parameters: int, tokens: int) -> dict[str, Any]:
    """Returns all figures for the file.

    Args:
        runs: Of all programs.
        streams: Numbers of streams.
        parameters: Numbers of the network that a token reads.
        tokens: Of each answer.
    """
    bandwidth = max(runs.bandwidths)
    programs = {key: _sum_up(runs, key, parameters, bandwidth) for key in PROGRAMS if key in runs.measurements}
    return {
        "streams": streams,
        "tokens": tokens,
        "bandwidth": bandwidth,
        "parameters_read": parameters,
        "programs": programs,
        "ratios": list_ratios(runs, streams),
        "skipped": runs.skipped,
    }


def _sum_up(runs: Runs, key: str, parameters: int, bandwidth: float) -> dict[str, Any]:
    rows, kind = runs.measurements[key], PROGRAMS[key]
    columns = [_sum_up_streams(runs, key, place) for place in range(len(rows[0]))]
    limit = bandwidth / (parameters * WEIGHT_BYTES[kind.weights])
    figures: dict[str, Any] = {"name": kind.name, "columns": columns, "peak": median(runs.peaks[key]), "limit": limit}
    singles = [place for place, one in enumerate(rows[0]) if one.streams == 1]
    if singles and not kind.is_guarded:
        figures["gap"] = median(row[singles[0]].gap for row in rows)
        # Between two tokens the weights are read once; the time to the first text is not part of it.
        figures["share_of_limit"] = 1 / figures["gap"] / limit if figures["gap"] else None
    if EXACT in runs.measurements and not kind.is_server:
        exact = runs.measurements[EXACT][0][-1].answers
        pairs = list(zip(rows[0][-1].answers, exact, strict=True))
        figures["equal_answers"] = sum(one.strip() == other.strip() for one, other in pairs) / len(pairs)
    return figures


def _sum_up_streams(runs: Runs, key: str, place: int) -> dict[str, Any]:
    ones = [row[place] for row in runs.measurements[key]]
    ratio = compare(runs, key, REFERENCE, place)
    return {
        "streams": ones[0].streams,
        "tokens": min(one.tokens for one in ones),
        "speed": vars(Spread.of([one.speed for one in ones])),
        "seconds": [one.seconds for one in ones],
        "first_median": median(median(one.firsts) for one in ones),
        "first_max": median(max(one.firsts) for one in ones),
        "ratio": ratio and vars(ratio),
    }


def list_ratios(runs: Runs, streams: list[int]) -> list[dict[str, Any]]:
    """Returns what is compared with a goal, and whether it is reached."""
    least, most = streams.index(min(streams)), streams.index(max(streams))
    against = f"{PROGRAMS[OURS].name} / {PROGRAMS[REFERENCE].name}, speed"
    over = f"{PROGRAMS[OURS].name} / {PROGRAMS[BOUND].name}, time"
    goals = [
        (against, OURS, REFERENCE, least, 1.8, True),
        (against, OURS, REFERENCE, most, 3.0, True),
        *[(over, BOUND, OURS, place, 1.2, False) for place in range(len(streams))],
    ]
    ratios = []
    for name, key, other, place, goal, is_least in goals:
        if ratio := compare(runs, key, other, place):
            reached = ratio.middle >= goal if is_least else ratio.middle <= goal
            bound = f"at {'least' if is_least else 'most'} {goal}"
            own = {"name": name, "streams": streams[place], "ratio": vars(ratio), "goal": bound, "reached": reached}
            ratios.append(own)
    return ratios
