"""The results of an evaluation in Markdown, for a terminal or a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_med.evaluation.report.markdown_text import (
    describe_data,
    escape,
    format_chain,
    format_metrics,
    format_pair,
    format_table,
)
from lightning_med.evaluation.report.page_view import DETECTOR_COLUMNS, build_view
from lightning_med.evaluation.report.systems import Metrics, format_value
from lightning_med.utils.files import write_text
from lightning_med.utils.page.number_format import format_number

MAIN_METRICS = (  # of sampled answers, and in a model card
    *("perplexity", "bits_per_byte", "rouge1", "rougeL", "bleu", "chrf", "meteor", "bertscore_f1", "similarity"),
    *("words", "distinct2", "repeated_4grams", "ended", "copied_share", "private_data", "advises_care", "refuses"),
    *("dose", "guarded_dose", "diagnosis", "guarded_diagnosis", "discouragement", "guarded_discouragement"),
    *("missed_alarm", "guarded_missed_alarm"),
)


def write_markdown(metrics: Metrics, path: Path) -> None:
    """Writes the results in Markdown, atomically; equal metrics give equal files.

    Args:
        metrics: As in `metrics.json`. Any part of it may be absent; its texts are untrusted.
        path: Of the file.
    """
    write_text(path, render_markdown(metrics))


def render_markdown(metrics: Metrics) -> str:
    """Renders the results in Markdown; see `write_markdown`."""
    view = build_view(metrics, [])
    titles = ", ".join(escape(system.title) for system in view["models"]) or "no model"
    baselines = ", ".join(escape(system.title) for system in view["baselines"])
    parts = [
        f"# Evaluation: {titles}",
        escape(view["notice_text"]),
        f"On {describe_data(metrics)}" + (f" Baselines: {baselines}." if baselines else ""),
        *_list_items("Findings", [*view["findings"], *(f"{title}: {sentence}" for title, sentence in view["flags"])]),
        *(
            ["## Verdicts", view["explanation"], _join(format_pair(pair) for pair in view["pairs"])]
            if view["pairs"]
            else []
        ),
        *_format_metrics(view),
        *_format_breakdowns(view),
        *_format_checks(view),
        *_list_items("What the figures do not say", view["limits"]),
        *_list_items("What was left out, and why", view["left_out"]),
        *(["## Provenance", _join(format_chain(*chain) for chain in view["chains"])] if view["chains"] else []),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def _join(lines: Any) -> str:
    return "\n".join(lines)


def _list_items(title: str, sentences: Any) -> list[str]:
    return [f"## {title}", _join(f"- {escape(sentence)}" for sentence in sentences)] if sentences else []


def _format_metrics(view: dict[str, Any]) -> list[str]:
    parts = ["## Metrics", "A value, with its 95% interval."] if view["tables"] else []
    for table in view["tables"]:
        parts += [f"### {table.title}", format_metrics(table)]
    sampled = [text for table in view["sampled"] if (text := format_metrics(table, MAIN_METRICS))]
    return parts + (["### Sampled answers, main metrics", *sampled] if sampled else [])


def _format_breakdowns(view: dict[str, Any]) -> list[str]:
    parts: list[str] = []
    for part, title in (("lengths", "Words of the reference"), ("sources", "Source")):
        found = view[part]
        if not found["rows"]:
            continue
        rows = []
        for *name, count, cells in found["rows"]:
            shown = escape(name[0]) if part == "sources" else _describe_bin(*name)
            bits = [format_value(cell.get("bits_per_byte"), ".3f") for cell in cells]
            rows.append([shown, format_number(count), *bits])
        parts.append(format_table([title, "Rows", *(escape(system.title) for system in found["systems"])], rows))
    return ["## Bits per byte, by length and source", *parts] if parts else []


def _describe_bin(start: Any, end: Any) -> str:
    return f"{format_number(start)} and more" if end is None else f"{format_number(start)} to {format_number(end)}"


def _format_checks(view: dict[str, Any]) -> list[str]:
    parts: list[str] = []
    if view["canaries"]["rows"]:
        rows = [[escape(name), *map(escape, cells)] for name, cells in view["canaries"]["rows"]]
        parts += ["## Canaries", format_table(["Figure", *map(escape, view["canaries"]["titles"])], rows)]
    if view["detectors"]:
        rows = [[escape(name), *map(escape, cells)] for name, cells in view["detectors"]]
        parts += ["## How good the detectors are", format_table(["Detector", *DETECTOR_COLUMNS], rows)]
    return parts
