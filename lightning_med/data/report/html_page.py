"""The data report as one HTML page without scripts or network requests, for readers without a technical background."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from lightning_med.data.report import charts, labels
from lightning_med.data.report.number_format import NONE, format_number, format_percent, format_quantity, make_visible
from lightning_med.data.report.page_view import Report, build_view


def render_page(report: Report) -> str:
    """Renders a data report as HTML; equal reports give equal pages.

    Args:
        report: As in `report.json`. Any part of it may be empty; its texts are untrusted.
    """
    return load_environment().get_template("page.html.jinja").render(build_view(report))


@cache
def load_environment() -> Environment:
    """Returns the templates' environment: every value is made visible, then escaped."""
    environment = Environment(
        loader=PackageLoader("lightning_med.data.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=make_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": format_number,
        "percent": format_percent,
        "quantity": format_quantity,
        "bar_width": charts.measure_bar,
        "segments": charts.stack_segments,
        "rule": labels.describe_rule,
        "kind": labels.describe_kind,
    }
    environment.globals |= {
        "NONE": NONE,
        "SPLIT_TITLES": labels.SPLIT_TITLES,
        "LENGTH_TITLES": labels.LENGTH_TITLES,
        "EFFECT_TITLES": labels.EFFECT_TITLES,
        "geometry": charts,
    }
    return environment
