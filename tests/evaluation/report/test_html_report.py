"""The page of an evaluation: self-contained, safe with any text, honest and complete."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lightning_med.evaluation.metric_list import METRICS, SAMPLED
from lightning_med.evaluation.report.html_report import render_html, write_html
from lightning_med.evaluation.report.metric_table import CHART_WIDTH, build_tables
from lightning_med.evaluation.report.systems import LIMITS, list_systems, order_metrics
from tests.evaluation.report.helpers import NAMES, make_examples, make_metrics
from tests.pages import EVIL, Balanced, check_self_contained, contrast, with_evil

METRICS_JSON, EXAMPLES = make_metrics(), make_examples()
LONG = NAMES[1]


def with_nulls(value: Any) -> Any:
    """Replaces every measured number by null, as NaN is written."""
    if isinstance(value, dict):
        return {key: part if key in ("edges", "about") else with_nulls(part) for key, part in value.items()}
    if isinstance(value, list):
        return [with_nulls(part) for part in value]
    return None if isinstance(value, float) else value


def select(metrics: dict[str, Any], section: str) -> dict[str, Any]:
    """Leaves the models the metrics of a section alone."""
    models = {
        name: {key: entry for key, entry in entries.items() if METRICS[key.removeprefix(SAMPLED)].section == section}
        for name, entries in metrics["models"].items()
    }
    return {**metrics, "models": models, "baselines": {}}


CASES: dict[str, dict[str, Any]] = {
    "full": METRICS_JSON,
    "one model": make_metrics(NAMES[:1]),
    "six models": make_metrics(NAMES),
    "evil": with_evil(METRICS_JSON),
    "evil names": {**make_metrics((EVIL,)), "canaries": {EVIL: {EVIL: EVIL}}, "detectors": {EVIL: {EVIL: {}}}},
    "nulls": with_nulls(METRICS_JSON),
    "nothing": {},
    "all empty": {key: type(value)() for key, value in METRICS_JSON.items()},
    "likelihood alone": select(METRICS_JSON, "likelihood"),
    "texts alone": select(METRICS_JSON, "overlap"),
    "of a later version": {**METRICS_JSON, "models": {"tuned": {"unheard_of": {"value": 1.0}}}},
}


def show(metrics: dict[str, Any], examples: list[dict[str, Any]] | None = None) -> str:
    """Returns the visible words of a page."""
    return " ".join(Balanced(render_html(metrics, EXAMPLES if examples is None else examples)).words.split())


@pytest.mark.parametrize("metrics", CASES.values(), ids=CASES)
def test_page_is_self_contained_and_has_no_broken_values(metrics: dict[str, Any]) -> None:
    html = render_html(metrics, [] if not metrics else EXAMPLES)
    check_self_contained(html)
    assert not re.search(r"\b(nan|None|NaN|inf|null)\b", Balanced(html).words)


def test_hostile_texts_stay_texts() -> None:
    html = render_html(CASES["evil names"], with_evil(EXAMPLES))
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("<style>") == 1
    assert "<script>alert('x')</script>" in Balanced(html).words


def test_findings_come_before_verdicts_before_tables() -> None:
    html = render_html(METRICS_JSON, EXAMPLES)
    places = [html.index(f'<section id="{name}"') for name in ("findings", "verdicts", "metrics", "examples", "limits")]
    assert places == sorted(places)
    assert METRICS_JSON["findings"][0] in html[places[0] : places[1]]


def test_flags_are_said_once() -> None:
    shown = show(METRICS_JSON)
    assert shown.count("34.1% of the answers are") == 1  # it is among the findings
    assert "Untuned base, sampled : 2.0% of the answers have no word." in shown
    assert "100.0% of the answers" not in shown  # of the constant reply that is no news


def test_verdicts_are_said_in_words() -> None:
    entries = [
        {"a": "tuned", "b": "retrieval", "metric": "rougeL", "value": -0.02, "low": -0.03, "high": -0.01, "adjusted_p": 0.0002, "verdict": "b"},
        {"a": "tuned", "b": "retrieval", "metric": "chrf", "value": 2.0, "low": 1.0, "high": 3.0, "adjusted_p": 0.01, "verdict": "a"},
        {"a": "tuned", "b": "retrieval", "metric": "meteor", "value": 0.0, "low": -0.1, "high": 0.1, "adjusted_p": 1.0, "verdict": None},
        {"a": "tuned", "b": "retrieval", "metric": "words", "value": 9.0, "low": 8.0, "high": 10.0, "adjusted_p": 0.0, "verdict": None},
        {"a": "tuned", "b": "retrieval", "metric": "refuses", "value": None, "low": None, "high": None, "adjusted_p": None, "verdict": None},
    ]  # fmt: skip
    shown = show({**METRICS_JSON, "differences": entries})
    assert "Better on chrF. Worse on ROUGE-L. No difference shown on 1 metric METEOR." in shown
    assert "ROUGE-L -0.020 -0.030 to -0.010 < .001" in shown
    assert "chrF +2.00 1.00 to 3.00 .010" in shown
    assert "Refuses where it should – – –" in shown  # without a value nothing was left open
    assert "Words +9.0" in shown  # it has no better direction: a difference without a verdict
    assert "Holm" in shown


def test_every_metric_stands_in_a_table_with_its_interval() -> None:
    shown = show(METRICS_JSON)
    for name, entry in METRICS_JSON["models"]["tuned"].items():
        metric = METRICS[name.removeprefix(SAMPLED)]
        value, low, high = (format(entry[key], metric.form) for key in ("value", "low", "high"))
        assert f"{value} {low} to {high}" in shown, name
        assert metric.title in shown


def test_guarded_counts_stand_beside_raw_ones() -> None:
    assert order_metrics(["dose", "diagnosis", "guarded_dose", "guarded_diagnosis"]) == [
        "dose", "guarded_dose", "diagnosis", "guarded_diagnosis",
    ]  # fmt: skip
    assert re.search(r"Doses Lower .*? Doses when guarded The same after the guard\.", show(METRICS_JSON))


def test_systems_without_a_section_have_no_column_in_it() -> None:
    tables = {table.title: table for table in build_tables(METRICS_JSON, list_systems(METRICS_JSON))}
    likelihood = [system.name for system in tables["Likelihood of the reference answers"].systems]
    assert likelihood == [*NAMES[:2], "untuned"]
    memory = tables["Memory of the training data"]
    human = [system.name for system in memory.systems].index("human")
    assert memory.rows[0].cells[human] == ("–", "")


def test_charts_order_values_on_one_axis() -> None:
    for table in build_tables(METRICS_JSON, list_systems(METRICS_JSON)):
        for row in table.rows:
            assert all(0 <= mark.low <= mark.x <= mark.high <= CHART_WIDTH for mark in row.marks)
            measured = [float(value.rstrip("%")) for value, _ in row.cells if value != "–"]
            pairs = sorted(zip(measured, (mark.x for mark in row.marks), strict=True))
            assert [x for _, x in pairs] == sorted(x for _, x in pairs)


def test_answers_stand_beside_each_other() -> None:
    example = {"why": "worst", "row": 7, "question": "Is 10^9 much?", "reference": "No.", "answers": {"tuned": "", LONG: "<b>Yes.</b>"}, "nll": {"tuned": 9.5, LONG: None}}  # fmt: skip
    shown = show(METRICS_JSON, [example])
    assert f"Is 10^9 much? Reference No. tuned loss 9.500 (empty) {LONG} <b>Yes.</b>" in shown
    assert "Worst by loss" in shown
    assert "Drawn at random" not in shown


def test_limits_are_always_said() -> None:
    for metrics in ({}, METRICS_JSON):
        shown = show(metrics, [])
        assert all(sentence in shown for sentence in LIMITS)
        assert "research and education" in shown
    assert METRICS_JSON["left_out"][0] in show(METRICS_JSON)


def test_provenance_leads_from_data_to_export() -> None:
    about = METRICS_JSON["about"]["tuned"]
    shown = show(METRICS_JSON)
    chain = f"Data {about['data_fingerprint']} Base {about['base']} Checkpoint step-1200.ckpt {about['checkpoint_digest']} Export {about['digest']}"
    assert chain in shown


def test_pictures_and_tables_can_be_heard() -> None:
    parsed = Balanced(render_html(METRICS_JSON, EXAMPLES))
    assert all(picture.get("aria-label") or picture.get("aria-hidden") == "true" for picture in parsed.tags("svg"))
    assert len(parsed.tags("caption")) == len(parsed.tags("table"))
    assert all(cell.get("scope") in ("row", "col") for cell in parsed.tags("th"))
    levels = [int(tag[1]) for tag, _ in parsed.seen if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_of_models_can_be_seen(scheme: str) -> None:
    blocks = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", render_html({}, []), re.S)
    ]
    light, dark, _, own_light, own_dark = blocks
    colours = {**light, **own_light} if scheme == "light" else {**light, **own_light, **dark, **own_dark}
    for name in ("train", "validation", "test", "s4", "s5", "s6", "muted"):
        assert contrast(colours[name], colours["paper"]) >= 3, name


def test_equal_metrics_give_equal_files(tmp_path: Path) -> None:
    write_html(METRICS_JSON, EXAMPLES, tmp_path / "a.html")
    write_html(json.loads(json.dumps(METRICS_JSON)), json.loads(json.dumps(EXAMPLES)), tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
