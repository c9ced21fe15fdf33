"""The values that the page of an evaluation shows, computed from metrics whose parts may be absent."""

from __future__ import annotations

import json
from typing import Any

from lightning_med.evaluation.baselines.names import DISCLAIMER, REFERENCE, UNTUNED
from lightning_med.evaluation.metric_list import SAMPLED
from lightning_med.evaluation.report.line_chart import draw_lines, get_bins, list_bins
from lightning_med.evaluation.report.metric_table import build_tables, has_sampled
from lightning_med.evaluation.report.systems import (
    LIMITS,
    Metrics,
    System,
    find_title,
    is_number,
    list_origin,
    list_systems,
)
from lightning_med.evaluation.report.verdicts import EXPLANATION, list_pairs
from lightning_med.evaluation.results.findings import describe_flag
from lightning_med.utils.page.charts import make_histogram
from lightning_med.utils.page.number_format import NONE, format_number, format_percent

EDGES = "edges"  # of the distributions
DETECTOR_COLUMNS = ("Examples", "Number", "Precision", "Recall")
CANARY_TITLES = {
    "mean_exposure": "Mean exposure, bits",
    "upper_limit": "Exposure if all were memorized, bits",
    "expected": "Exposure expected without memory, bits",
    "most_likely": "Share whose secret is the most likely",
}
_DISTRIBUTIONS = {  # title, unit of a bin, what lies beyond the axis, what each model is drawn against, its title
    "words": ("Words of an answer", "words", "longer than {} words", REFERENCE, "References"),
    "row_nll": ("Loss of a row's reference", "nats per token", "above {} nats per token", UNTUNED, "Untuned base"),
}


def build_view(metrics: Metrics, examples: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the variables of the templates; texts in them are untrusted.

    Args:
        metrics: As in `metrics.json`.
        examples: Questions with reference and answers.
    """
    systems = list_systems(metrics)
    data = metrics.get("data") or {}
    return {
        "systems": systems,
        "models": [system for system in systems if system.name in (metrics.get("models") or {})],
        "baselines": [system for system in systems if system.name in (metrics.get("baselines") or {})],
        "files": ", ".join(str(name) for name in data.get("files") or []) or "no file",
        "data": data,
        "draws": (metrics.get("settings") or {}).get("draws"),
        "constant": ((metrics.get("about") or {}).get("constant") or {}).get("text"),
        "notice_text": str(metrics.get("disclaimer") or DISCLAIMER),
        "findings": [str(sentence) for sentence in metrics.get("findings") or []],
        "flags": _list_flags(metrics),
        "pairs": list_pairs(metrics),
        "explanation": EXPLANATION,
        "tables": build_tables(metrics, systems),
        "sampled": build_tables(metrics, systems, SAMPLED) if has_sampled(metrics, systems) else [],
        "lengths": _tabulate_lengths(metrics, systems),
        "sources": _tabulate_sources(metrics, systems),
        "distributions": _draw_distributions(metrics, systems),
        "canaries": _tabulate_canaries(metrics),
        "detectors": _tabulate_detectors(metrics),
        "examples": [_view_example(example, metrics, systems) for example in examples],
        "limits": LIMITS,
        "answer_kind": next((example["kind"] for example in examples if example.get("kind")), "no"),
        "left_out": [str(sentence) for sentence in metrics.get("left_out") or []],
        "chains": _list_chains(metrics, systems),
        "provenance": _list_provenance(metrics),
    }


def _list_flags(metrics: Metrics) -> list[tuple[str, str]]:
    """Returns title of the system and sentence of each flag that no finding repeats."""
    findings = set(metrics.get("findings") or [])
    flags = []
    for name, found in (metrics.get("flags") or {}).items():
        for flag in found:
            if name == flag.get("kind") == "constant":
                continue  # it is meant to be
            title, sentence = find_title(metrics, name), str(flag.get("text") or flag.get("kind"))
            if describe_flag(name, {**flag, "text": sentence}) not in findings:
                flags.append((f"{title}, sampled" if flag.get("answers") == "sampled" else title, sentence))
    return list(dict.fromkeys(flags))


def _tabulate_lengths(metrics: Metrics, systems: list[System]) -> dict[str, Any]:
    """Returns charts and a table of the likelihood by the length of the reference."""
    shown = [system for system in systems if get_bins(metrics, system.name)]
    rows = []
    for start, end in list_bins(metrics, shown):
        found = [_find_bin(metrics, system, start, end) for system in shown]
        rows.append((start, end, max((bin_.get("rows") or 0 for bin_ in found), default=0), found))
    charts = {measure: draw_lines(metrics, shown, measure) for measure in ("bits_per_byte", "nll")}
    return {"systems": shown, "rows": rows, "charts": {name: chart for name, chart in charts.items() if chart}}


def _find_bin(metrics: Metrics, system: System, start: Any, end: Any) -> dict[str, Any]:
    bins = get_bins(metrics, system.name)
    return next((bin_ for bin_ in bins if (bin_.get("from"), bin_.get("to")) == (start, end)), {})


def _tabulate_sources(metrics: Metrics, systems: list[System]) -> dict[str, Any]:
    """Returns the likelihood by source, a row for each source."""
    found = {
        system: ((metrics.get("breakdowns") or {}).get(system.name) or {}).get("by_source") or {} for system in systems
    }
    shown = [system for system in systems if found[system]]
    names = dict.fromkeys(name for system in shown for name in found[system])
    rows = []
    for name in names:
        cells = [found[system].get(name) or {} for system in shown]
        rows.append((name, max((cell.get("rows") or 0 for cell in cells), default=0), cells))
    return {"systems": shown, "rows": rows}


def _draw_distributions(metrics: Metrics, systems: list[System]) -> list[dict[str, Any]]:
    """Returns a histogram for each system that has one, those of one kind on the same axes."""
    found = metrics.get("distributions") or {}
    kinds = []
    for kind, (title, unit, tail, against, against_title) in _DISTRIBUTIONS.items():
        counts = {name: (bins or {}).get(kind) or [] for name, bins in found.items() if name != EDGES}
        drawing = make_histogram((found.get(EDGES) or {}).get(kind) or [], counts, tail=tail)
        shown = [system for system in systems if drawing and system.name in drawing.outlines and system.name != against]
        if drawing is None or not shown:
            continue
        has_other = against in drawing.outlines
        kinds.append(
            {
                "title": title,
                "unit": unit,
                "drawing": drawing,
                "against": against_title if has_other else "",
                "parts": [
                    (system, {**({against: "behind"} if has_other else {}), system.name: system.tone})
                    for system in shown
                ],
            }
        )
    return kinds


def _tabulate_canaries(metrics: Metrics) -> dict[str, Any]:
    """Returns the figures of each system, a row for each figure; of a list its length."""
    found = {name: figures for name, figures in (metrics.get("canaries") or {}).items() if figures}
    names = dict.fromkeys(key for figures in found.values() for key in figures)
    rows = []
    for name in names:
        values = [figures.get(name) for figures in found.values()]
        cells = [format_setting(len(value) if isinstance(value, list) else value) for value in values]
        rows.append((CANARY_TITLES.get(name) or _humanize(name), cells))
    return {"titles": [find_title(metrics, name) for name in found], "rows": rows}


def _tabulate_detectors(metrics: Metrics) -> list[tuple[str, list[str]]]:
    """Returns name, part of the examples, their number, precision and recall of each detector."""
    rows = []
    for name, parts in (metrics.get("detectors") or {}).items():
        for part, figures in parts.items():
            shares = [
                f"{format_percent(figures.get(share))} ({figures.get('right')} of {figures.get(of)})"
                if is_number(figures.get(share))
                else NONE
                for share, of in (("precision", "found"), ("recall", "positives"))
            ]
            rows.append((_humanize(name), [_humanize(part), format_number(figures.get("examples")), *shares]))
    return rows


def _view_example(example: dict[str, Any], metrics: Metrics, systems: list[System]) -> dict[str, Any]:
    tones = {system.name: system.tone for system in systems}
    likelihood = example.get("nll") or {}
    answers = [
        (find_title(metrics, name), tones.get(name, "b"), text, likelihood.get(name))
        for name, text in (example.get("answers") or {}).items()
    ]
    question = " ".join(str(example.get("question") or NONE).split())
    return {**example, "opening": question if len(question) <= 90 else question[:90] + "…", "shown_answers": answers}


def _list_chains(metrics: Metrics, systems: list[System]) -> list[tuple[System, list[tuple[str, str]]]]:
    """Returns where each model comes from: data, base, checkpoint, export."""
    about = metrics.get("about") or {}
    chains = [(system, list_origin(about.get(system.name) or {})) for system in systems]
    return [(system, steps) for system, steps in chains if steps]


def _list_provenance(metrics: Metrics) -> list[tuple[str, dict[str, str]]]:
    """Returns title and entries of each part of the provenance that is not empty."""
    about = metrics.get("about") or {}
    parts = [
        ("Data", metrics.get("data")),
        ("Settings", metrics.get("settings")),
        ("Versions", metrics.get("versions")),
    ]
    parts += [(find_title(metrics, name), entries) for name, entries in about.items()]
    return [
        (title, {str(key): format_setting(value) for key, value in entries.items()})
        for title, entries in parts
        if entries
    ]


def _humanize(name: object) -> str:
    return str(name).replace("_", " ").capitalize()


def format_setting(value: Any) -> str:
    """Returns a setting as text, a dash where it is not set."""
    if value is None:
        return NONE
    if isinstance(value, int | float):
        return format_number(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
