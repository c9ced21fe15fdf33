"""The environment of a page's templates: its own ones and the shared ones, with every value escaped."""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from lightning_med.utils.page import charts
from lightning_med.utils.page.number_format import NONE, format_number, format_percent, format_quantity, make_visible


def make_environment(package: str) -> Environment:
    """Returns an environment in which every value is made visible, then escaped.

    Args:
        package: The package with the page's own folder `templates`.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("lightning_med.utils.page")]),
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
    }
    environment.globals |= {"NONE": NONE, "geometry": charts}
    return environment
