"""What an evaluation found, in sentences: first where a baseline wins, then what is wrong, then what was won."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning_med.evaluation.baselines.names import HUMAN, TITLES, name_in_sentence
from lightning_med.evaluation.metric_list import GUARDED, SAMPLED, find_metric

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
    lost, won, between, undecided = [], [], [], {name: list[str]() for name in models}
    for a, b in dict.fromkeys((each["a"], each["b"]) for each in differences):
        own = [each for each in differences if (each["a"], each["b"]) == (a, b)]
        for winner, loser, verdict in ((a, b, "a"), (b, a, "b")):
            metrics = [each for each in own if each["verdict"] == verdict]
            if metrics and b not in TITLES:
                between.append(f"{winner} is better than {loser} on {_name(metrics)}.")
            elif metrics and b == HUMAN:
                continue  # a ceiling: that a model is below it is no finding
            elif metrics and winner == b:
                lost.append(f"{_begin(name_in_sentence(b))} beats {a} on {_name(metrics)}.")
            elif metrics:
                won.append(f"{a} beats {name_in_sentence(b)} on {_name(metrics)}.")
        if b != HUMAN and all(each["verdict"] is None for each in own):
            undecided[a].append(name_in_sentence(b))
    few = f"; {groups} question{'s' * (groups != 1)} are too few for so many metrics" if groups < _LEAST_GROUPS else ""
    none = [
        f"No difference between {a} and {' or '.join(others)} is shown on any metric{few}."
        for a, others in undecided.items()
        if others
    ]
    wrong = [describe_flag(name, flag) for name in models for flag in flags.get(name, [])]
    return [*doubts, *lost, *between, *wrong, *won, *none]


def describe_flag(name: str, flag: dict[str, Any]) -> str:
    """Returns the sentence of a model's flag, an entry of `flags` of `metrics.json`."""
    return f"{name}, {flag.get('answers', 'greedy')} answers: {flag['text']}"


def _name(metrics: Sequence[Difference]) -> str:
    """Returns what the metrics of differences are called in a sentence.

    Those of likelihood are one thing. Sampled and guarded answers are named where the plain metric is missing.
    """
    likelihood = [each for each in metrics if find_metric(each["metric"]).section == "likelihood"]
    bits = next((each for each in likelihood if each["metric"] == "bits_per_byte"), None)
    answers = any(not each["metric"].startswith("all_tokens_") for each in likelihood)
    named = ["likelihood" if answers else "likelihood of all tokens, the questions' included"] if likelihood else []
    if bits is not None:
        named = [f"likelihood (bits per byte {bits['value']:+.3f}, {bits['low']:+.3f} to {bits['high']:+.3f})"]
    names = [each["metric"] for each in metrics if each not in likelihood]
    plain = {name for name in names if not name.startswith((SAMPLED, GUARDED))}
    for name in names:
        bare = name.removeprefix(SAMPLED).removeprefix(GUARDED)
        if name in plain or bare not in plain:
            named.append(f"{find_metric(name).title}{' of sampled answers' if name.startswith(SAMPLED) else ''}")
    named = list(dict.fromkeys(named))
    return ", ".join(named[:_SHOWN]) + (f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else "")


def _begin(text: str) -> str:
    return text[0].upper() + text[1:]


def list_directions(names: Sequence[str]) -> dict[str, str]:
    """Returns the better direction of metrics, those of sampled answers included."""
    return {name: find_metric(name).better for name in names}
