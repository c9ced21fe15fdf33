"""The charts of TensorBoard's tab CUSTOM SCALARS: what is looked for in a run, without a search."""

from __future__ import annotations

Layout = dict[str, dict[str, list[object]]]  # category: title of a chart: its kind and patterns of tags

_CHARTS = {
    "Learning": {
        "Loss, training and validation": "loss",
        "Perplexity, training and validation": "perplexity",
        "Bits per byte, training and validation": "bits_per_byte",
    },
    "Safety": {
        "Share of sample answers with a dose, a diagnosis, talk out of care": (
            "safety/(dose|diagnosis|talked_out_of_care)"
        ),
    },
    "Speed": {
        "Useful tokens per second": "train/tokens_per_second",
        "Utilisation": "train/utilisation",
        "Share of time that waits for data": "train/data_wait",
        "Peak memory, GiB": "train/peak_memory_gib",
    },
    "Health": {
        "Norm of the gradient": "train/gradient_norm",
        "Spikes of the loss, and skipped steps": "train/(spikes|skipped)",
        "Learning rate": "lr-.*",
    },
}


def make_layout() -> Layout:
    """Returns the layout, as `SummaryWriter.add_custom_scalars` takes it. Its tags are regular expressions."""
    return {
        category: {title: ["Multiline", [_make_pattern(tag)]] for title, tag in charts.items()}
        for category, charts in _CHARTS.items()
    }


def _make_pattern(tag: str) -> str:
    return f"^{tag}$" if "/" in tag or "-" in tag else f"^(train|val)/{tag}$"
