"""A bar chart of the benchmark: speed and memory of each contender."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OURS, OTHERS = "#0b6e4f", "#9aa5b1"


def draw_chart(results: dict[str, Any], names: list[str], path: Path) -> None:
    """Draws two bar charts side by side, each bar with its figure.

    Args:
        results: Figures of benchmark_training.
        names: The contenders, in order.
        path: File of the picture; its suffix selects the format.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.5 * len(names) + 1.2), layout="constrained")
    charts = (
        ("useful tokens a second (more is better)", "useful_tokens_per_second", 1.0, "{:,.0f}"),
        ("peak memory, GiB (less is better)", "peak_memory_bytes", 2.0**30, "{:.1f}"),
    )
    for axes, (title, key, unit, form) in zip(figure.subplots(1, 2, sharey=True), charts, strict=True):
        values = [results[name][key] / unit for name in names]
        bars = axes.barh(names, values, color=[OURS if name == "ours" else OTHERS for name in names])
        axes.bar_label(bars, labels=[form.format(value) for value in values], padding=3)
        axes.set_title(title, fontsize=10)
        axes.set_xlim(0, 1.15 * max(values))
        axes.set_xticks([])
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
    figure.axes[0].invert_yaxis()
    figure.supxlabel(_describe_setup(results), fontsize=8)
    figure.savefig(path, dpi=130)


def _describe_setup(results: dict[str, Any]) -> str:
    machine, shape = results["machine"], results["shape"]
    device = machine.get("gpu") or f"{machine['cores']} cores of {machine['cpu']}"
    kind = "synthetic" if results["synthetic"] else "real"
    layers = f"{shape['family']}, {shape['layers']} layers of {shape['width']}"
    return f"{layers}, {results['precision']}, {results['rows']} {kind} rows, {device}"
