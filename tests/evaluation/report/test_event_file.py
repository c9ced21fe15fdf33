"""The results of an evaluation in a run's TensorBoard events."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from torch.utils.tensorboard import SummaryWriter

from lightning_med.checkpoints.run_folder import SETTINGS, find_run_around
from lightning_med.evaluation.report.event_file import log_results
from tests.evaluation.report.helpers import make_metrics

METRICS_JSON = make_metrics()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Folder of a run that has logged two points."""
    folder = tmp_path / "tiny" / "version_3"
    with SummaryWriter(str(folder)) as writer:
        for step in (1, 2):
            writer.add_scalar("train/loss", 3.0 / step, step)
    (folder / SETTINGS).write_text("seed_everything: 1\n", encoding="utf-8")
    return folder


def read(run: Path) -> EventAccumulator:
    return EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def test_results_stand_at_the_step_of_the_checkpoint_beside_the_curves(run: Path) -> None:
    log_results(run, METRICS_JSON, "tuned")
    events = read(run)
    assert [point.step for point in events.Scalars("train/loss")] == [1, 2]
    entry = METRICS_JSON["models"]["tuned"]["rougeL"]
    for tag, part in (("rougeL", "value"), ("rougeL/low", "low"), ("rougeL/high", "high")):
        (point,) = events.Scalars(f"evaluation/{tag}")
        assert (point.step, point.value) == (1200, pytest.approx(entry[part]))
    (text,) = events.Tensors("evaluation/text_summary")
    assert "nearest training answer beats" in text.tensor_proto.string_val[0].decode()


def test_a_second_evaluation_replaces_the_first(run: Path) -> None:
    log_results(run, make_metrics(seed=1), "tuned")
    log_results(run, METRICS_JSON, "tuned")
    (point,) = read(run).Scalars("evaluation/perplexity")
    assert point.value == pytest.approx(METRICS_JSON["models"]["tuned"]["perplexity"]["value"])


def test_charts_of_results_and_of_training_are_laid_out(run: Path) -> None:
    log_results(run, METRICS_JSON, "tuned")
    (event,) = read(run).Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    categories = {category.title: [chart.title for chart in category.chart] for category in layout.category}
    assert "Loss, training and validation" in categories["Learning"]
    assert "Doses when guarded" in categories["Evaluation: Safety"]


def test_undefined_values_are_left_out(run: Path) -> None:
    values = {"rougeL": {"value": None, "low": None, "high": None, "rows": 0}, "chrf": {"value": 1.0, "low": None}}
    log_results(run, {"models": {"tuned": values}}, "tuned")
    tags = read(run).Tags()["scalars"]
    assert "evaluation/chrf" in tags
    assert not {"evaluation/rougeL", "evaluation/chrf/low"} & set(tags)


def test_only_an_export_in_a_runs_folder_has_a_run(run: Path, tmp_path: Path) -> None:
    assert find_run_around(run / "export") == run.resolve()
    assert find_run_around(tmp_path / "elsewhere") is None
    (run / SETTINGS).unlink()
    assert find_run_around(run / "export") is None
