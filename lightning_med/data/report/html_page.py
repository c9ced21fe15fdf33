"""The data report as one HTML page that needs no script and no network, for a reader who is no engineer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

from lightning_med.data.report import html_sections
from lightning_med.data.report.charts import histogram, stack, swatch
from lightning_med.data.report.html_elements import (
    NONE,
    SPLIT_NAMES,
    Report,
    empty,
    facts,
    key,
    named,
    number,
    percent,
    row_count,
    table,
    text,
)
from lightning_med.data.splits.group_split import JACCARD

_LENGTHS = {"question": "Question", "answer": "Answer", "total": "The whole"}
_SUB = '<span class="sub">{}</span>'


def page(report: Report) -> str:
    """Renders a data report as HTML; equal reports give equal pages.

    Args:
        report: As in `report.json`. Any part of it may be empty; its texts are not trusted.
    """
    parts = {name: build(report) for name, build in _PARTS.items()}
    return Template(_beside("page.html")).substitute(parts, style=_beside("page.css"))


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _splits_of(report: Report) -> dict[str, int]:
    return {split: (report.get("splits") or {}).get(split) or 0 for split in SPLIT_NAMES}


def _title(report: Report) -> str:
    return text(", ".join(str(name) for name in report.get("files") or []) or "no file")


def _headline(report: Report) -> str:
    read, kept = report.get("rows_in") or 0, report.get("rows_out") or 0
    if not kept:
        return "No consultation is left"
    return f"{number(kept)} consultation{'s' * (kept != 1)} from {row_count(read)}"


def _summary(report: Report) -> str:
    read, kept, splits = report.get("rows_in") or 0, report.get("rows_out") or 0, _splits_of(report)
    private = report.get("private") or {}
    top = max(private, key=lambda kind: private[kind], default="")
    if not html_sections.searched(report):
        replaced = ("switched off", "Names and addresses stand as they were written.")
    elif not sum(private.values()):
        replaced = ("none found", "Names, addresses and numbers were looked for.")
    else:
        replaced = (number(sum(private.values())), f"Most often: {text(html_sections.KINDS.get(top, top).lower())}.")
    held = splits["validation"] + splits["test"]
    joined = f"{number(report.get('leaks_joined'))} rows joined to an earlier one."
    figures = [
        ("Rows kept", percent(kept, read), f"{number(read)} read, {number(max(read - kept, 0))} dropped."),
        ("Held back from training", percent(held, sum(splits.values())), f"{row_count(held)} for validation and test."),
        ("Groups of like questions", number(report.get("groups")), joined),
        ("Private data replaced", *replaced),
    ]
    return facts(figures, "figures") + _split_bar(splits)


def _split_bar(splits: dict[str, int]) -> str:
    whole = sum(splits.values())
    if not whole:
        return empty("No row is in any split.")
    legend = "".join(
        f'<li>{key(split)}<span>{name} <span class="count">{number(splits[split])}'
        f" ({percent(splits[split], whole)})</span></span></li>"
        for split, name in SPLIT_NAMES.items()
    )
    parts = [(name, split, splits[split]) for split, name in SPLIT_NAMES.items()]
    return f'{stack(parts, "Rows by split")}<ul class="legend">{legend}</ul>'


def _notice(report: Report) -> str:
    if html_sections.searched(report):
        private = "Private data that the rules recognise is replaced here as in the data."
    else:
        private = "The data keeps its private data; what the rules recognise of it is replaced on this page."
    return (
        f"For research and education, not for care. {private} The page shows consultations’ text: keep it where you"
        " keep the data."
    )


def _splits(report: Report) -> str:
    splits, tokens = _splits_of(report), report.get("tokens") or {}
    whole = sum(splits.values())
    titles = {"total": "Tokens", "question": _SUB.format("in questions"), "answer": _SUB.format("in answers")}
    lines = [
        ("Rows", *(number(splits[split]) for split in SPLIT_NAMES)),
        ("Share", *(percent(splits[split], whole) for split in SPLIT_NAMES)),
        *((title, *(number((tokens.get(s) or {}).get(part)) for s in SPLIT_NAMES)) for part, title in titles.items()),
    ]
    cut = {split: (tokens.get(split) or {}).get("cut") or 0 for split in SPLIT_NAMES}
    shares = {split: f"<small>{percent(n, splits[split])}</small>" if n else "" for split, n in cut.items()}
    lines.append(("Rows cut", *(number(cut[split]) + shares[split] for split in SPLIT_NAMES)))
    heads = [named(split) for split in SPLIT_NAMES]
    return table("Rows and tokens of each split", ("", *heads), lines)


def _groups(report: Report) -> str:
    largest = ", ".join(number(size) for size in report.get("largest_groups") or []) or NONE
    sources = (report.get("recipe") or {}).get("sources") or []
    patient = " or come from the same patient" * any((source or {}).get("group_column") for source in sources)
    alike = f" (likeness {number(JACCARD)} or more, where 1 is the same)"
    return facts(
        [
            ("Groups", number(report.get("groups")), f"Questions that are alike{patient} are one."),
            (
                "Leaks joined",
                number(report.get("leaks_joined")),
                f"Rows that ask what an earlier row asks, or nearly{patient}.",
            ),
            ("Near copies", number(report.get("near_pairs")), f"Pairs of questions that differ by little{alike}."),
            (
                "Groups moved",
                number(report.get("moved_groups")),
                "Joined to a group in another split than their own draw said.",
            ),
            ("Largest groups", largest, f"Rows that ask alike{patient}."),
        ]
    )


def _lengths(report: Report) -> str:
    lengths, recipe = report.get("lengths") or {}, report.get("recipe") or {}
    limit = recipe.get("max_length")
    figures, drawn = [], False
    for part, title in _LENGTHS.items():
        picture, beyond = histogram(lengths.get(part) or {}, title, limit if part == "total" else None)
        drawn = drawn or bool(picture)
        note = f'<figcaption class="note">{beyond}</figcaption>' if beyond else ""
        figures.append(f"<figure><h3>{title}</h3>{picture or empty('No rows to draw.')}{note}</figure>")
    legend = "".join(f"<li>{swatch(split)}<span>{name}</span></li>" for split, name in SPLIT_NAMES.items())
    pictures = f'<ul class="legend">{legend}</ul><div class="histograms">{"".join(figures)}</div>'
    measures = ("p50", "p90", "p99", "max")
    lines = ((title, *(number((lengths.get(part) or {}).get(m)) for m in measures)) for part, title in _LENGTHS.items())
    columns = ("", "Half have at most", "Nine of ten", "99 of 100", "Longest")
    said = f'<p class="note">Limit: {number(limit)} tokens for training.</p>' if limit else ""
    shown = table("Tokens in a text", columns, lines)
    return (pictures if drawn else empty("No lengths were measured.")) + shown + said


def _recipe(report: Report) -> str:
    settings = {**(report.get("recipe") or {}), "fingerprint": report.get("fingerprint") or NONE}
    lines = ((f"<code>{text(name)}</code>", _setting(value)) for name, value in settings.items())
    return table("Settings", ("Name", "Value"), lines, "settings")


def _setting(value: Any) -> str:
    if value is None or value == "":
        return NONE
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return f'<code dir="auto">{text(said)}</code>'


_PARTS: dict[str, Callable[[Report], str]] = {
    "title": _title,
    "headline": _headline,
    "summary": _summary,
    "notice": _notice,
    "rules": html_sections.rules,
    "examples": html_sections.examples,
    "sources": html_sections.sources,
    "splits": _splits,
    "groups": _groups,
    "lengths": _lengths,
    "private": html_sections.private,
    "openings": html_sections.openings,
    "vocabulary": html_sections.vocabulary,
    "rows": html_sections.dialogues,
    "recipe": _recipe,
}
