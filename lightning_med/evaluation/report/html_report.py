"""The results of an evaluation as one HTML page without scripts or network requests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from lightning_med.evaluation.report import metric_table
from lightning_med.evaluation.report.page_view import DETECTOR_COLUMNS, build_view
from lightning_med.evaluation.report.systems import Metrics, format_value
from lightning_med.utils.files import write_text
from lightning_med.utils.page.environment import make_environment


def write_html(metrics: Metrics, examples: list[dict[str, Any]], path: Path) -> None:
    """Writes the page, atomically; equal metrics give equal pages.

    Args:
        metrics: As in `metrics.json`. Any part of it may be absent; its texts are untrusted.
        examples: Questions with the answers to them: `why` ("drawn" or "worst"), `row`, `question`, `reference`,
            `answers` and `nll` by the name of the model.
        path: Of the file.
    """
    write_text(path, render_html(metrics, examples))


def render_html(metrics: Metrics, examples: list[dict[str, Any]]) -> str:
    """Renders the page; see `write_html`."""
    return load_environment().get_template("page.html.jinja").render(build_view(metrics, examples))


@cache
def load_environment() -> Environment:
    """Returns the templates' environment."""
    environment = make_environment("lightning_med.evaluation.report")
    environment.filters["value"] = format_value
    environment.globals |= {"CHART_WIDTH": metric_table.CHART_WIDTH, "DETECTOR_COLUMNS": DETECTOR_COLUMNS}
    return environment
