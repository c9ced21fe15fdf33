"""Made-up results of an evaluation, as in `metrics.json`."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

from lightning_med.evaluation.metric_list import METRICS, NEITHER, SAMPLED

NAMES = (
    "tuned",
    "smollm2-135m-lora-r8-three-epochs-on-all-of-the-consultations",
    "small",
    "scratch",
    "wide",
    "long_run_7",
)
TEXTLESS = ("copied_tokens", "copied_share")  # what another doctor's answers are not measured on
_SCALES = {".4f": 3.0, ".2f": 20.0, ".3f": 0.3, ".1f": 60.0, ".1%": 0.4}
FLAG = "34.1% of the answers are one and the same reply, or one of a few, whatever the question."
_ANSWER = (
    "Hello, thank you for your question. This sounds like a strain. Rest the arm, and see a doctor if it gets worse. "
)


def make_metrics(names: tuple[str, ...] = NAMES[:2], seed: int = 0) -> dict[str, Any]:
    """Returns results of these models and all baselines, the same for the same seed."""
    rng = random.Random(seed)
    likelihood = [name for name, metric in METRICS.items() if metric.section == "likelihood"]
    texts = [name for name in METRICS if name not in likelihood]
    models = {name: _make_values(rng, [*METRICS, *(SAMPLED + metric for metric in texts)]) for name in names}
    baselines = {name: _make_values(rng, texts) for name in ("constant", "retrieval")}
    baselines = {"untuned": _make_values(rng, likelihood + texts), **baselines}
    baselines["human"] = _make_values(rng, [name for name in texts if name not in TEXTLESS])
    systems = [*names, *baselines]
    edges = {"words": [10 * i for i in range(31)], "row_nll": [0.25 * i for i in range(25)]}
    distributions: dict[str, Any] = {"edges": edges, "reference": {"words": _make_bins(rng, 30)}}
    for name in systems:
        distributions[name] = {"words": _make_bins(rng, 30)}
        if name in names or name == "untuned":
            distributions[name]["row_nll"] = _make_bins(rng, 24)
    return {
        "format": 1,
        "disclaimer": "For research and education only. Not a medical device, and never a substitute for care.",
        "data": {
            "files": ["consultations.csv", "forum.jsonl"],
            "split": "test",
            "rows": 1412,
            "groups": 1388,
            "fingerprint": "ab12c04f9e77d1035b6aa210",
            "content": "c0" * 32,
            "source_rows": {"consultations.csv": 1000, "forum.jsonl": 412},
        },
        "settings": {"seed": 0, "draws": 10000, "max_new_tokens": 256, "sampling_seed": 0, "limit": None},
        "versions": {"lightning_med": "0.2.0", "torch": "2.13.0", "sacrebleu": "2.6.0"},
        "models": models,
        "baselines": baselines,
        "about": {
            **{name: _describe_model(name) for name in names},
            "constant": {"text": "Hello. Please see your doctor. <b>Take care.</b>"},
        },
        "differences": [
            _compare(rng, a, b, metric)
            for a, b in [*combinations(names, 2), *((name, baseline) for name in names for baseline in baselines)]
            for metric in (*METRICS, f"{SAMPLED}rougeL")
            if metric in {**models, **baselines}[a] and metric in {**models, **baselines}[b]
        ],
        "breakdowns": {name: _break_down(rng) for name in (*names, "untuned")},
        "distributions": distributions,
        "flags": {
            names[0]: [{"kind": "constant", "share": 0.341, "text": FLAG, "answers": "greedy"}],
            "untuned": [
                {"kind": "empty", "share": 0.02, "text": "2.0% of the answers have no word.", "answers": "sampled"}
            ],
            "constant": [
                {"kind": "constant", "share": 1.0, "text": "100.0% of the answers are one and the same reply."}
            ],
        },
        "canaries": {
            name: {
                "canaries": [{"row": 0, "rank": 3}] * 20,
                "mean_exposure": 1.23,
                "upper_limit": 9.97,
                "most_likely": 0.05,
            }
            for name in names
        },
        "detectors": {
            name: {
                part: {"precision": 0.97, "recall": 0.8, "right": 32, "found": 33, "positives": 40, "examples": 120}
                for part in ("seen", "held_apart")
            }
            for name in ("greets", "dose")
        },
        "findings": [
            f"The nearest training answer beats {names[0]} on ROUGE-L, by 0.021 (0.012 to 0.030).",
            f"{names[0]}, greedy answers: {FLAG}",
            f"{names[0]} beats the untuned base on 14 of 31 metrics.",
        ],
        "left_out": ["BERTScore and similarity: no --encoder was given.", "Another doctor's likelihood: it has none."],
    }


def make_examples(names: tuple[str, ...] = NAMES[:2]) -> list[dict[str, Any]]:
    """Returns ten questions that were drawn, and ten that were worst."""
    return [
        {
            "why": why,
            "row": 1000 + number,
            "question": f"My arm hurts since day {number}.\n\nDoctor: Where?\n\nAt the elbow, when I lift it. "
            * (1 + number % 3),
            "reference": _ANSWER * (1 + number % 4),
            "answers": {name: _ANSWER * place if number else "" for place, name in enumerate((*names, "untuned"), 1)},
            "nll": dict.fromkeys(names, 2.0 + number / 7),
        }
        for why in ("drawn", "worst")
        for number in range(10)
    ]


def _make_values(rng: random.Random, metrics: list[str]) -> dict[str, dict[str, Any]]:
    values = {}
    for name in metrics:
        scale = _SCALES[METRICS[name.removeprefix(SAMPLED)].form]
        value, spread = scale * rng.uniform(0.2, 0.9), scale * rng.uniform(0.02, 0.1)
        rows = 57 if name.endswith(("refuses", "missed_alarm")) else 1412
        values[name] = {"value": value, "low": value - spread, "high": value + spread, "rows": rows}
    return values


def _make_bins(rng: random.Random, count: int) -> list[int]:
    return [
        int(300 * rng.uniform(0.6, 1.0) * 2.71828 ** (-(((i - count / 3) / (count / 7)) ** 2))) for i in range(count)
    ]


def _describe_model(name: str) -> dict[str, Any]:
    return {
        "folder": f"lightning_logs/{name}/version_0/export",
        "digest": "e1" * 32,
        "prompt": "aa" * 32,
        "tokenizer": "bb" * 32,
        "base": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "checkpoint": "step-1200.ckpt",
        "checkpoint_digest": "d4" * 32,
        "step": 1200,
        "data_fingerprint": "ab12c04f9e77d1035b6aa210",
        "device": "cpu",
        "precision": "float32",
        "parameters": 134515008,
        "decoding": {"max_new_tokens": 256, "temperature": 0.0},
    }


def _compare(rng: random.Random, a: str, b: str, metric: str) -> dict[str, Any]:
    scale = _SCALES[METRICS[metric.removeprefix(SAMPLED)].form]
    value, p = scale * rng.uniform(-0.3, 0.3), rng.random() ** 4
    has_direction = METRICS[metric.removeprefix(SAMPLED)].better != NEITHER
    verdict = ("a" if value > 0 else "b") if p < 0.05 and has_direction else None
    ends = {"value": value, "low": value - scale / 10, "high": value + scale / 10}
    return {
        "a": a,
        "b": b,
        "metric": metric,
        **ends,
        "p": p / 2,
        "adjusted_p": p,
        "rows": 1412,
        "verdict": verdict,
        "rows_needed": 5210,
    }


def _break_down(rng: random.Random) -> dict[str, Any]:
    bins = [(0, 50), (50, 100), (100, 150), (150, 200), (200, 300), (300, None)]
    return {
        "by_source": {
            name: {"rows": rows, "nll": rng.uniform(2, 3), "bits_per_byte": rng.uniform(0.8, 1.2)}
            for name, rows in (("consultations.csv", 1000), ("forum.jsonl", 412))
        },
        "by_length": [
            {"from": start, "to": end, "rows": 230, "nll": rng.uniform(2, 3), "bits_per_byte": rng.uniform(0.8, 1.2)}
            for start, end in bins
        ],
    }
