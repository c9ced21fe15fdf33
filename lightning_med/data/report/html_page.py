"""The data report as one HTML page without scripts or network requests, for readers without a technical background."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment

from lightning_med.data.report import labels
from lightning_med.data.report.charts import stack_segments
from lightning_med.data.report.page_view import Report, build_view
from lightning_med.utils.page.environment import make_environment


def render_page(report: Report) -> str:
    """Renders a data report as HTML; equal reports give equal pages.

    Args:
        report: As in `report.json`. Any part of it may be empty; its texts are untrusted.
    """
    return load_environment().get_template("page.html.jinja").render(build_view(report))


@cache
def load_environment() -> Environment:
    """Returns the templates' environment."""
    environment = make_environment("lightning_med.data.report")
    environment.filters |= {
        "segments": stack_segments,
        "rule": labels.describe_rule,
        "kind": labels.describe_kind,
    }
    environment.globals |= {
        "SPLIT_TITLES": labels.SPLIT_TITLES,
        "LENGTH_TITLES": labels.LENGTH_TITLES,
        "EFFECT_TITLES": labels.EFFECT_TITLES,
    }
    return environment
