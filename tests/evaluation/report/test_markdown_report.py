"""The report in Markdown: the figures of the page, and no text that becomes a mark."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_med.evaluation.metric_list import METRICS
from lightning_med.evaluation.report.markdown_report import render_markdown, write_markdown
from lightning_med.evaluation.report.markdown_text import escape
from lightning_med.evaluation.report.systems import LIMITS
from tests.evaluation.report.helpers import NAMES, make_metrics
from tests.pages import EVIL, with_evil

METRICS_JSON = make_metrics()


def test_findings_come_first_and_figures_have_intervals() -> None:
    text = render_markdown(METRICS_JSON)
    assert text.index("nearest training answer beats") < text.index("## Verdicts") < text.index("## Metrics")
    for name in ("perplexity", "rougeL", "guarded_dose"):
        entry, metric = METRICS_JSON["models"]["tuned"][name], METRICS[name]
        value, low, high = (format(entry[key], metric.form) for key in ("value", "low", "high"))
        assert f"| {metric.title} | {value} ({low} to {high}) |" in text
    for sentence in (*LIMITS, *METRICS_JSON["left_out"], METRICS_JSON["disclaimer"]):
        assert sentence in text
    assert METRICS_JSON["about"]["tuned"]["digest"] in text


def test_tables_have_as_many_cells_as_columns() -> None:
    for metrics in (METRICS_JSON, make_metrics(NAMES), with_evil(METRICS_JSON), make_metrics((EVIL,))):
        for table in re.findall(r"(?:^\|.*\n)+", render_markdown(metrics), re.M):
            counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(counts) == 1


def test_a_report_of_nothing_still_says_its_limits() -> None:
    text = render_markdown({})
    assert "no model" in text
    assert LIMITS[0] in text
    assert "None" not in text


@settings(max_examples=50)
@given(st.text())
def test_a_text_stays_one_line_without_marks(text: str) -> None:
    escaped = escape(text)
    assert len(escaped.splitlines()) <= 1
    bare = re.sub(r"\\[\\`*<>\[\]|~#_]", "", escaped)
    assert not set(bare) & set("\\`*<>[]|~#")


def test_words_with_underscores_stay_as_they_are() -> None:
    assert escape("a_b_2") == "a_b_2"
    assert escape("_a_ b") == r"\_a\_ b"


def test_equal_metrics_give_equal_files(tmp_path: Path) -> None:
    write_markdown(METRICS_JSON, tmp_path / "a.md")
    write_markdown(json.loads(json.dumps(METRICS_JSON)), tmp_path / "b.md")
    assert (tmp_path / "a.md").read_bytes() == (tmp_path / "b.md").read_bytes()
