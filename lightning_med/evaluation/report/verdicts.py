"""What the tests say of each pair, in words."""

from __future__ import annotations

from dataclasses import dataclass, field

from lightning_med.evaluation.metric_list import METRICS, NEITHER, SAMPLED
from lightning_med.evaluation.report.systems import (
    Metrics,
    describe_metric,
    find_title,
    format_interval,
    format_value,
    is_number,
)
from lightning_med.utils.page.number_format import NONE, format_number

EXPLANATION = (
    "A verdict needs a p value below .05 after adjustment for all metrics of the pair (Holm, 1979), and a 95% interval "
    "of the difference without zero. “No difference shown” is not “equal”: these rows do not tell the two apart."
)


@dataclass
class Pair:
    """A model against another model or a baseline.

    Attributes:
        a, b: Titles; untrusted.
        better, worse, undecided: Titles of the metrics on which A is so.
        rows: Title of the metric, difference, interval, adjusted p, rows, rows needed.
        has_power: Rows needed are known.
    """

    a: str
    b: str
    better: list[str] = field(default_factory=list)
    worse: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    has_power: bool = False

    def describe(self) -> list[tuple[str, list[str]]]:
        """Returns the verdicts that there are, with their metrics."""
        verdicts = [("Better on", self.better), ("Worse on", self.worse), ("No difference shown on", self.undecided)]
        return [(words, titles) for words, titles in verdicts if titles]


def list_pairs(metrics: Metrics) -> list[Pair]:
    """Returns the pairs in the order of the differences; without a better direction or a value there is no verdict."""
    pairs: dict[tuple[str, str], Pair] = {}
    order = {name: place for place, name in enumerate([*METRICS, *(SAMPLED + name for name in METRICS)])}
    for entry in sorted(metrics.get("differences") or [], key=lambda entry: order.get(entry.get("metric"), 0)):
        known = describe_metric(str(entry.get("metric")))
        if known is None:
            continue
        (metric, title), a, b = known, entry.get("a"), entry.get("b")
        pair = pairs.setdefault((a, b), Pair(find_title(metrics, a), find_title(metrics, b)))
        needed = entry.get("rows_needed")
        pair.has_power |= is_number(needed)
        p, interval = entry.get("adjusted_p"), format_interval(entry, metric.form)
        shown = NONE if not is_number(p) else "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")
        pair.rows.append(
            (
                title,
                format_value(entry.get("value"), f"+{metric.form}"),
                interval or NONE,
                shown,
                format_number(entry.get("rows")),
                format_number(needed),
            )
        )
        if metric.better != NEITHER and is_number(entry.get("value")):
            {"a": pair.better, "b": pair.worse}.get(entry.get("verdict"), pair.undecided).append(title)
    given = dict.fromkeys((entry.get("a"), entry.get("b")) for entry in metrics.get("differences") or [])
    return [pairs[key] for key in given if key in pairs]
