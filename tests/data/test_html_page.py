"""The data page: self-contained, safe with any text, complete and reproducible."""

from __future__ import annotations

import copy
import json
import re
from itertools import pairwise
from typing import Any

import pytest

from lightning_med.data.cleaning.cleaning_rules import RULES
from lightning_med.data.report.charts import make_length_histogram, stack_segments
from lightning_med.data.report.html_page import load_environment, render_page
from lightning_med.data.report.labels import RULE_TITLES
from lightning_med.data.report.text_diff import mark_changes
from lightning_med.utils.page.number_format import format_number, format_percent, make_visible
from tests.pages import EVIL, Balanced, check_self_contained, contrast, with_evil

SPLITS = ("train", "validation", "test")


def length(most: int) -> dict[str, Any]:
    counts = {"train": [10, 60, 25, 4, 0, 1], "validation": [1, 5, 2, 0, 0, 0], "test": [2, 9, 4, 1, 0, 0]}
    return {"edges": [0, 32, 64, 96, 128, 160, most], **counts, "p50": 51.5, "p90": 91, "p99": 127, "max": most}


REPORT: dict[str, Any] = {
    "rows_in": 112165,
    "rows_out": 109233,
    "rules": {"missing": 12, "blank": 3, "duplicate": 2827, "whitespace": 51234, "cut_answer": 4120, "own_rule": 7},
    "effects": {
        "missing": "dropped",
        "blank": "dropped",
        "duplicate": "dropped",
        "whitespace": "mended",
        "cut_answer": "counted",
        "html": "off",
    },
    "examples": {
        "whitespace": [{"source": "a.csv", "row": 1717, "column": "answer", "before": "a  b", "after": "a b"}],
        "missing": [{"source": "a.csv", "row": 1818, "column": None, "before": None, "after": None}],
    },
    "bad_rows": 77,
    "sources": [{"name": "a.csv", "weight": 0.25, "rows_in": 112100, "rows_out": 109200}],
    "splits": {"train": 92848, "validation": 5462, "test": 10923},
    "groups": 108001,
    "leaks_joined": 1233,
    "near_pairs": 951,
    "moved_groups": 29,
    "largest_groups": [43, 31, 14],
    "checked_against": {
        "files": {"public.csv": {"rows": 1273, "digest": "0f" * 32, "questions": 87, "answers": 53, "bad_rows": 0}},
        "left_out": 97,
        "examples": [
            {"column": "answer", "source": "a.csv", "row": 61, "table": "public.csv", "table_row": 62, "text": "Tea."}
        ],
    },
    "private": {"EMAIL": 121, "URL": 2001, "CARD": 0, "NATIONAL_ID": 1, "NAME": 30007, "OTHER_KIND": 6},
    "tokens": {
        split: {"total": 3_000_001 * n, "question": 1_000_001 * n, "answer": 1_500_001 * n, "cut": 11 * n}
        for n, split in enumerate(SPLITS, 1)
    },
    "lengths": {name: length(most) for name, most in (("question", 1201), ("answer", 1301), ("total", 1401))},
    "openings": [{"text": "Hello, thank you for", "count": 8123}, {"text": "Hi, welcome to", "count": 4665}],
    "vocabulary": {
        "validation": {"divergence": 0.0123, "unseen": 0.0031},
        "test": {"divergence": 0.0456, "unseen": 0.0072},
        "shifted": [{"word": "fever", "train": 0.00121, "test": 0.00192}],
    },
    "rows": [
        {
            "split": "train",
            "source": "a.csv",
            "row": 5,
            "question": "It hurts.\n\nDoctor: Where?\n\nHere.",
            "answer": "Rest.",
        },
        {"split": "test", "source": "b.csv", "row": 6, "question": "Is 10^9 much?", "answer": "No."},
    ],
    "files": ["a.csv"],
    "recipe": {
        "source": [{"path": "a.csv", "weight": 0.25}],
        "tokenizer": "distilgpt2",
        "max_length": 512,
        "seed": 4242,
        "jaccard": 0.85,
        "private_data": True,
        "system": None,
    },
    "fingerprint": "ab12c04f9e77d1035b6aa210",
}


EMPTY: dict[str, dict[str, Any]] = {
    "nothing": {},
    "all empty": {key: type(value)() for key, value in REPORT.items()},
    "three rows": {
        **REPORT,
        "rows_in": 3,
        "rows_out": 3,
        "splits": {"train": 2, "validation": 0, "test": 1},
        "lengths": {"total": {"edges": [0, 32], "train": [2], "validation": [0], "test": [1]}},
        "tokens": {"train": {"total": 90}, "validation": {}},
        "vocabulary": {"validation": None, "test": {"divergence": float("nan"), "unseen": 0}, "shifted": []},
    },
    "no rows": {**REPORT, "rows_out": 0, "splits": dict.fromkeys(SPLITS, 0), "rows": [], "openings": []},
    "zeros": {
        **REPORT,
        "rules": {"missing": 0},
        "private": {"NAME": 0},
        "lengths": {"total": {"edges": [], "train": []}},
    },
}


@pytest.mark.parametrize("report", [REPORT, with_evil(REPORT), *EMPTY.values()], ids=["full", "evil", *EMPTY])
def test_page_is_self_contained(report: dict[str, Any]) -> None:
    check_self_contained(render_page(report))


def test_hostile_texts_stay_texts() -> None:
    html = render_page(with_evil(REPORT))
    assert "<script" not in html
    assert "<img" not in html
    assert "\x00" not in html
    assert html.count("<style>") == 1
    shown = Balanced(html).words
    assert "<script>alert('x')</script>" in shown
    assert "${style}$style]]>{{ 7 * 7 }}{% include 'page.css' %}" in shown
    assert "&amp;" in shown


def test_names_of_parts_are_not_trusted_either() -> None:
    report = copy.deepcopy(REPORT)
    for part in ("rules", "effects", "private", "recipe"):
        report[part] = {**report[part], EVIL: "off" if part == "effects" else 1}
    report["examples"][EVIL] = report["examples"]["whitespace"]
    assert "<script" not in render_page(report)


FIGURES = """
    112,165 109,233 2,932 97.4% 12 3 2,827 51,234 45.7% 4,120 7 77 112,100 109,200 0.25
    92,848 5,462 10,923 85.0% 5.0% 10.0% 15.0% 108,001 1,233 951 29 43, 31, 14
    121 2,001 0 1 30,007 6 32,136
    3,000,001 6,000,002 9,000,003 1,000,001 2,000,002 3,000,003 1,500,001 3,000,002 4,500,003 11 22 33
    51.5 91 127 1,201 1,301 1,401 8,123 4,665 7.4% 0.0123 0.3% 0.0456 0.7% 12.1 19.2 1,717 1,818
    1,273 87 53 97 61 62
"""


def test_every_figure_is_there() -> None:
    shown = " ".join(Balanced(render_page(REPORT)).words.split())
    numbers = set(re.findall(r"[\d.,]*\d%?", shown))
    assert {figure.rstrip(",") for figure in FIGURES.split()} <= numbers
    for text in [
        *REPORT["private"],
        *(opening["text"] for opening in REPORT["openings"]),
        "fever",
        REPORT["fingerprint"],
    ]:
        assert text in shown
    for row in REPORT["rows"]:
        assert f"{row['source']} , row {row['row']}" in shown
        assert " ".join(row["question"].split()) in shown
        assert row["answer"] in shown
    for name, value in REPORT["recipe"].items():
        assert name in shown
        assert value is None or (value if isinstance(value, str) else json.dumps(value)) in shown


def test_headline_tells_rows_in_and_out() -> None:
    shown = " ".join(Balanced(render_page(REPORT)).words.split())
    assert "109,233 consultations from 112,165 rows" in shown
    assert "32,136 Most often: names of persons." in shown
    assert "Training 92,848 (85.0%)" in shown


def test_equal_reports_give_equal_pages() -> None:
    assert render_page(REPORT) == render_page(json.loads(json.dumps(REPORT)))


def test_missing_figures_are_explained() -> None:
    shown = Balanced(render_page(EMPTY["all empty"])).words
    for words in ("No rule was applied", "No row is in any split", "No lengths were measured", "None found", "no file"):
        assert words in shown
    assert "None " not in shown.replace("None found", "")
    assert "nan" not in Balanced(render_page(EMPTY["three rows"])).words


@pytest.mark.parametrize("searched", [True, False])
def test_private_data_switched_off_is_not_none_found(searched: bool) -> None:
    report = {**REPORT, "private": {}, "recipe": {"private_data": searched}}
    shown = Balanced(render_page(report)).words
    assert ("none found" in shown, "switched off" in shown) == (searched, not searched)
    assert ("keeps its private data" in shown) != searched
    assert "For research and education" in shown


def test_a_rule_without_a_title_goes_by_its_name() -> None:
    shown = " ".join(Balanced(render_page(REPORT)).words.split())
    assert "Own rule 7" in shown
    assert "Switched off: markup of web pages" in shown


def test_every_cleaning_rule_has_a_title() -> None:
    assert {rule.name for rule in RULES} <= set(RULE_TITLES)


def test_line_breaks_of_a_consultation_stay() -> None:
    assert "It hurts.\n\nDoctor: Where?\n\nHere." in render_page(REPORT)
    assert "white-space: pre-wrap" in render_page(REPORT)


def test_pictures_have_a_text_in_their_place() -> None:
    parsed = Balanced(render_page(REPORT))
    pictures = parsed.tags("svg")
    assert len([picture for picture in pictures if picture.get("role") == "img"]) == 4
    assert all(picture.get("aria-label") or picture.get("aria-hidden") == "true" for picture in pictures)
    assert len(parsed.tags("caption")) == len(parsed.tags("table"))
    assert all(cell.get("scope") in ("row", "col") for cell in parsed.tags("th"))
    levels = [int(tag[1]) for tag, _ in parsed.seen if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_read(scheme: int) -> None:
    blocks = [
        re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)
        for block in re.findall(r":root \{(.*?)\}", render_page({}), re.S)
    ]
    colours = dict(blocks[scheme])
    for name in ("ink", "muted", "accent"):
        assert contrast(colours[name], colours["paper"]) >= 4.5
    assert contrast(colours["ink"], colours["raised"]) >= 4.5
    for name in ("gone", "come"):
        assert contrast(colours[f"{name}-ink"], colours[name]) >= 4.5
    for name in (*SPLITS, "plain"):
        assert contrast(colours[name], colours["paper"]) >= 3
        assert contrast(colours[name], colours["track"]) >= 3


def draw(macro: str, *arguments: Any) -> str:
    """Renders a macro of the charts."""
    return str(getattr(load_environment().get_template("charts.html.jinja").module, macro)(*arguments))


def draw_histogram(lengths: dict[str, Any], limit: int | None = None) -> str:
    part = {
        "title": "Whole",
        "histogram": make_length_histogram(lengths, limit),
        "p50": 1,
        "p90": 2,
        "p99": 3,
        "max": 4,
    }
    return draw("histogram", part, limit)


def test_histogram_counts_the_tail_and_marks_the_limit() -> None:
    edges = list(range(0, 1001, 10))
    train = [10] * 20 + [0] * 79 + [1]
    lengths = {"edges": edges, "train": train, "validation": [0] * 100, "test": [0] * 100, "max": 999}
    histogram = make_length_histogram(lengths, 250)
    assert histogram is not None
    assert "limit 250" in draw_histogram(lengths, 250)
    assert histogram.note == "1 row (0.5%) is longer than 250 tokens."
    histogram = make_length_histogram(lengths, 900)
    assert histogram is not None
    assert "limit 900" not in draw_histogram(lengths, 900)
    assert histogram.note == "1 row (0.5%) is longer than 200 tokens. The limit, 900 tokens, lies beyond the axis."


def test_histogram_of_nothing_is_nothing() -> None:
    for lengths in ({}, {"edges": [0, 1], "train": [0]}, {"edges": [], "train": []}, {"edges": [0], "train": [3]}):
        assert make_length_histogram(lengths, 512) is None


def test_histogram_compares_shares() -> None:
    lengths = {"edges": [0, 10, 20], "train": [600, 400], "test": [3, 2], "validation": [0, 0]}
    outlines = re.findall(r'class="line (\w+)" d="([^"]+)"', draw_histogram(lengths))
    assert [split for split, _ in outlines] == ["train", "test"]
    assert outlines[0][1] == outlines[1][1]


def test_stack_of_nothing() -> None:
    assert list(stack_segments({"train": 0})) == []
    assert "Training 0 (–)" in draw("stack", {"train": 0}, "Rows")


def test_differences_are_marked_and_visible() -> None:
    assert mark_changes("pain.Take", "pain. Take") == (
        [("", "pain."), ("", "Take")],
        [("", "pain."), ("ins", "·"), ("", "Take")],
    )
    assert mark_changes("a  b", "a b") == ([("", "a "), ("del", "·"), ("", "b")], [("", "a "), ("", "b")])
    assert mark_changes("pa\u200bin", "pain") == ([("del", "pa‹U+200B›in")], [("ins", "pain")])
    assert mark_changes("<b>", "") == ([("del", "<b>")], [])


def test_marked_differences_are_escaped() -> None:
    report = copy.deepcopy(REPORT)
    report["examples"]["whitespace"][0] |= {"before": "<b>a  b", "after": "a b"}
    html = render_page(report)
    assert '<p dir="auto"><del>&lt;b&gt;</del>a <del>·</del>b</p>' in html
    assert '<p dir="auto">a b</p>' in html


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (0, 5, "0.0%"),
        (1, 100_000, "<0.1%"),
        (99_999, 100_000, ">99.9%"),
        (5, 5, "100.0%"),
        (1, 0, "–"),
        (None, 1, "–"),
    ],
)
def test_shares(part: float | None, whole: float, expected: str) -> None:
    assert format_percent(part, whole) == expected


def test_figures() -> None:
    assert [format_number(value) for value in (1234567, 1.0, 0.0123, None, float("inf"), True)] == [
        "1,234,567", "1", "0.0123", "–", "–", "True",
    ]  # fmt: skip
    assert make_visible("\x1b[31m\ud83d") == "␛[31m?"
