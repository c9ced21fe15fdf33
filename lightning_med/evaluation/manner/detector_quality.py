"""How often the detectors are right, on the labelled examples of `examples.jsonl`."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from lightning_med.evaluation.manner.detectors import NAMES, detect

PATH = Path(__file__).with_name("examples.jsonl")
PARTS = {"seen": False, "held_apart": True}  # the patterns were made with the first ones in view, not with the others


@cache
def read_examples() -> tuple[dict[str, Any], ...]:
    """Returns the examples: `text`, `labels` (names of the detectors that should say yes), `held_apart`."""
    return tuple(json.loads(line) for line in PATH.read_text(encoding="utf-8").splitlines())


def measure_detectors() -> dict[str, dict[str, dict[str, float]]]:
    """Returns precision and recall of each detector, by name and part of the examples.

    The parts are `seen` and `held_apart`. Each has `precision` and `recall` (NaN where nothing was found or is to be
    found), `found` (where the detector says yes), `positives` (where it should) and `examples`.
    """
    return {
        name: {
            part: _measure(name, [example for example in read_examples() if example["held_apart"] is apart])
            for part, apart in PARTS.items()
        }
        for name in NAMES
    }


def format_detectors() -> str:
    """Returns the figures of `measure_detectors` as a table in Markdown."""
    lines = ["| detector | part | precision | recall |", "|---|---|---|---|"]
    for name, parts in measure_detectors().items():
        for part, figures in parts.items():
            right = round(figures["recall"] * figures["positives"])
            precision = f"{figures['precision']:.1%} ({right} of {figures['found']:.0f})"
            recall = f"{figures['recall']:.1%} ({right} of {figures['positives']:.0f})"
            lines.append(f"| {name} | {part.replace('_', ' ')}, {figures['examples']:.0f} | {precision} | {recall} |")
    return "\n".join(lines)


def _measure(name: str, examples: list[dict[str, Any]]) -> dict[str, float]:
    labels = [name in example["labels"] for example in examples]
    finds = [name in detect(example["text"]) for example in examples]
    right = sum(label and found for label, found in zip(labels, finds, strict=True))
    return {
        "precision": right / sum(finds) if any(finds) else float("nan"),
        "recall": right / sum(labels) if any(labels) else float("nan"),
        "found": sum(finds),
        "positives": sum(labels),
        "examples": len(examples),
    }
