"""The results of an evaluation in TensorBoard, beside the run that the export comes from."""

from __future__ import annotations

from pathlib import Path

from lightning_med.evaluation.metric_list import SAMPLED, SECTIONS
from lightning_med.evaluation.report.markdown_report import render_markdown
from lightning_med.evaluation.report.systems import Metrics, describe_metric, get_values, is_number
from lightning_med.training.scalar_layout import Layout, make_layout

_SUFFIX = ".evaluation"  # of the events' file, so that a later evaluation replaces it
TAG = "evaluation"


def log_results(run: Path, metrics: Metrics, name: str) -> None:
    """Writes a model's metrics as scalars and the report as text into a run's events, in the place of earlier ones.

    The scalars `evaluation/METRIC`, `…/low` and `…/high` stand at the optimizer step of the checkpoint, which is `step`
    in `metrics["about"][name]`, and 0 where it is not known.

    Args:
        run: The run's folder; see `find_run_around`.
        metrics: As in `metrics.json`.
        name: Of the model in `metrics`.
    """
    from torch.utils.tensorboard import SummaryWriter

    step = int(((metrics.get("about") or {}).get(name) or {}).get("step") or 0)
    earlier = list(run.glob(f"events.out.tfevents.*{_SUFFIX}"))
    with SummaryWriter(str(run), filename_suffix=_SUFFIX) as writer:
        for metric, entry in get_values(metrics, name).items():
            for part, tag in (("value", metric), ("low", f"{metric}/low"), ("high", f"{metric}/high")):
                if is_number(entry.get(part)):
                    writer.add_scalar(f"{TAG}/{tag}", entry[part], step)
        writer.add_text(TAG, render_markdown(metrics), step)
        writer.add_custom_scalars({**make_layout(), **_lay_out(list(get_values(metrics, name)))})
    for file in earlier:
        file.unlink(missing_ok=True)


def _lay_out(metrics: list[str]) -> Layout:
    """Returns a category of charts for each section, of the metrics that there are."""
    layout: Layout = {}
    for metric in metrics:
        known = describe_metric(metric)
        if known is not None and not metric.startswith(SAMPLED):
            charts = layout.setdefault(f"Evaluation: {SECTIONS[known[0].section]}", {})
            charts[known[1]] = ["Multiline", [rf"^{TAG}/{metric}(/low|/high)?$"]]
    return layout
