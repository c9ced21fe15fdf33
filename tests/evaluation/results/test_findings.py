"""The sentences of an evaluation say what was found, and of what."""

from __future__ import annotations

from typing import Any

from lightning_med.evaluation.results.findings import find_sentences

FORTY = 40


def differ(a: str, b: str, metric: str, value: float, verdict: str | None) -> dict[str, Any]:
    return {
        "a": a,
        "b": b,
        "metric": metric,
        "value": value,
        "low": value - 0.1,
        "high": value + 0.1,
        "verdict": verdict,
    }


def test_a_lost_baseline_stands_before_a_won_one() -> None:
    won = differ("ours", "untuned", "bits_per_byte", -0.3, "a")
    lost = differ("ours", "constant", "rouge1", -0.1, "b")
    first, second = find_sentences(["ours"], [won, lost], {}, FORTY)
    assert first == "The constant reply beats ours on ROUGE-1."
    assert second.startswith("ours beats the untuned base on likelihood (bits per byte -0.300")


def test_likelihood_of_all_tokens_is_not_called_that_of_the_answers() -> None:
    """A model that learned the questions too is better over all tokens, and not on the answers."""
    answers = differ("ours", "notebook", "bits_per_byte", -0.1, "a")
    everything = differ("ours", "notebook", "all_tokens_nll", 0.4, "b")
    first, second = find_sentences(["ours", "notebook"], [answers, everything], {}, FORTY)
    assert first.startswith("ours is better than notebook on likelihood (bits per byte")
    assert second == "notebook is better than ours on likelihood of all tokens, the questions' included."


def test_no_verdict_is_said_with_its_reason() -> None:
    none = differ("ours", "constant", "rouge1", 0.01, None)
    assert find_sentences(["ours"], [none], {}, 8) == [
        "No difference between ours and the constant reply is shown on any metric; 8 questions are too few for so many metrics."
    ]
