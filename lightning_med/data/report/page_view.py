"""The values that the data page shows, computed from a report whose parts may be empty."""

from __future__ import annotations

import json
from typing import Any

from lightning_med.data.report.charts import make_length_histogram
from lightning_med.data.report.labels import EFFECT_TITLES, LENGTH_TITLES, SPLIT_TITLES
from lightning_med.data.report.text_diff import mark_changes
from lightning_med.data.splits.row_groups import JACCARD
from lightning_med.utils.page.number_format import NONE

Report = dict[str, Any]  # the content of report.json


def build_view(report: Report) -> dict[str, Any]:
    """Returns the variables of the templates; texts in them are untrusted."""
    recipe, tokens, vocabulary = (_get(report, name) for name in ("recipe", "tokens", "vocabulary"))
    settings = {**recipe, "fingerprint": report.get("fingerprint")}
    private = _sort_counts(_get(report, "private"))
    return {
        "report": report,
        "title": ", ".join(str(name) for name in report.get("files") or []) or "no file",
        "rows_in": report.get("rows_in") or 0,
        "rows_out": report.get("rows_out") or 0,
        "splits": {split: _get(report, "splits").get(split) or 0 for split in SPLIT_TITLES},
        "tokens": {split: _pick(tokens.get(split), "total", "question", "answer", "cut") for split in SPLIT_TITLES},
        "rules": _group_rules(report),
        "examples": _list_examples(report),
        "jaccard": JACCARD,
        "same_patient": any((source or {}).get("group_column") for source in recipe.get("sources") or []),
        "limit": recipe.get("max_length"),
        "lengths": _list_lengths(_get(report, "lengths"), recipe.get("max_length")),
        "masked": bool(recipe.get("private_data", bool(private))),
        "private": private,
        "openings": [(opening["text"], opening["count"]) for opening in report.get("openings") or []],
        "vocabulary": {split: vocabulary[split] for split in SPLIT_TITLES if vocabulary.get(split)},
        "shifted": vocabulary.get("shifted") or [],
        "settings": {name: _format_setting(value) for name, value in settings.items()},
    }


def _get(report: Report, name: str) -> dict[str, Any]:
    return report.get(name) or {}


def _pick(figures: dict[str, Any] | None, *names: str) -> dict[str, Any]:
    return {name: (figures or {}).get(name) for name in names}


def _sort_counts(counts: dict[str, int]) -> dict[str, int]:
    """Returns the counts, largest first."""
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _group_rules(report: Report) -> dict[str, dict[str, int]]:
    """Returns the rows of each rule, by its effect; a rule with an unknown effect only counts."""
    effects = _get(report, "effects")
    groups: dict[str, dict[str, int]] = {effect: {} for effect in EFFECT_TITLES}
    for rule, count in _sort_counts({**dict.fromkeys(effects, 0), **_get(report, "rules")}).items():
        effect = effects.get(rule)
        groups[effect if effect in EFFECT_TITLES else "counted"][rule] = count
    return groups


def _list_examples(report: Report) -> list[tuple[str, str, list[Report]]]:
    """Returns rule, effect and examples of each rule that has any."""
    effects = _get(report, "effects")
    return [
        (
            rule,
            EFFECT_TITLES.get(effects.get(rule, ""), "Counted"),
            [_compare_versions(example) for example in examples],
        )
        for rule, examples in _get(report, "examples").items()
        if examples
    ]


def _compare_versions(example: Report) -> Report:
    """Adds the spans of an example's text: before and after a change, or as it is."""
    before, after = example.get("before"), example.get("after")
    if after is None:
        return {**example, "versions": [("", [("", before or NONE)])]}
    old, new = mark_changes(str(before or ""), str(after))
    return {**example, "versions": [("before", old), ("after", new)]}


def _list_lengths(lengths: dict[str, Any], limit: int | None) -> list[dict[str, Any]]:
    """Returns title, percentiles and histogram of each part of a consultation."""
    parts = []
    for part, title in LENGTH_TITLES.items():
        histogram = make_length_histogram(lengths.get(part) or {}, limit if part == "total" else None)
        percentiles = _pick(lengths.get(part), "p50", "p90", "p99", "max")
        parts.append({"title": title, "histogram": histogram, **percentiles})
    return parts


def _format_setting(value: Any) -> str:
    """Returns a setting as text, empty where it is not set."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
