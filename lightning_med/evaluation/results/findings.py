"""What an evaluation found, in sentences: first where a baseline wins, then what is wrong, then what was won."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning_med.evaluation.baselines.names import HUMAN, TITLES, name_in_sentence
from lightning_med.evaluation.metric_list import GUARDED, METRICS, NEITHER, SAMPLED, find_metric

Difference = dict[str, Any]  # an entry of `differences` of `metrics.json`
_LEAST_GROUPS = 20  # with fewer, no difference of a usual number of metrics can get a verdict
_SHOWN = 6  # metrics of a sentence


def find_sentences(
    models: Sequence[str],
    differences: Sequence[Difference],
    flags: dict[str, list[dict[str, Any]]],
    groups: int,
    doubts: Sequence[str] = (),
) -> list[str]:
    """Returns the findings.

    Args:
        models: Names of the models.
        differences: With their verdicts.
        flags: By name of model or baseline.
        groups: Of rows.
        doubts: What makes figures of the whole evaluation doubtful, a sentence each.
    """
    pairs = list(dict.fromkeys((each["a"], each["b"]) for each in differences))
    lost, won, between = [], [], []
    for a, b in pairs:
        own = [each for each in differences if (each["a"], each["b"]) == (a, b)]
        for winner, loser, verdict in ((a, b, "a"), (b, a, "b")):
            metrics = [each["metric"] for each in own if each["verdict"] == verdict]
            if metrics and b not in TITLES:
                between.append(f"{winner} is better than {loser} on {_name(metrics)}.")
            elif metrics and b == HUMAN:
                continue  # a ceiling: that a model is below it is no finding
            elif metrics and winner == b:
                lost.append(f"{_begin(name_in_sentence(b))} beats {a} on {_name(metrics)}.")
            elif metrics:
                won.append(f"{a} beats {name_in_sentence(b)} on {_name(metrics)}.")
        if b != HUMAN and all(each["verdict"] is None for each in own):
            few = f"; {groups} questions are too few for any verdict" if groups < _LEAST_GROUPS else ""
            other = name_in_sentence(b)
            between.append(f"No difference between {a} and {other} is shown on any metric{few}.")
    wrong = [describe_flag(name, flag) for name in models for flag in flags.get(name, [])]
    return [*doubts, *lost, *wrong, *won, *between]


def describe_flag(name: str, flag: dict[str, Any]) -> str:
    """Returns the sentence of a model's flag, an entry of `flags` of `metrics.json`."""
    return f"{name}, {flag.get('answers', 'greedy')} answers: {flag['text']}"


def _name(metrics: Sequence[str]) -> str:
    """Returns the titles of metrics; those of sampled and of guarded answers only where the plain one is missing."""
    plain = {name for name in metrics if not name.startswith((SAMPLED, GUARDED))}
    named = []
    for name in metrics:
        bare = name.removeprefix(SAMPLED).removeprefix(GUARDED)
        if name in plain or bare not in plain:
            named.append(f"{find_metric(name).title}{' of sampled answers' if name.startswith(SAMPLED) else ''}")
    named = list(dict.fromkeys(named))
    return ", ".join(named[:_SHOWN]) + (f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else "")


def _begin(text: str) -> str:
    return text[0].upper() + text[1:]


def list_directions(names: Sequence[str]) -> dict[str, str]:
    """Returns the better direction of metrics, those of sampled answers included."""
    bare = {name: name.removeprefix(SAMPLED) for name in names}
    return {name: METRICS[metric].better if metric in METRICS else NEITHER for name, metric in bare.items()}
