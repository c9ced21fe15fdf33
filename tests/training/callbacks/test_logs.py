"""What a run logs to TensorBoard and to its table of metrics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch.loggers import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from lightning_med.training.callbacks.hparams import HyperParameters
from tests import tiny
from tests.training.callbacks.helpers import fit

SCALARS = [
    *(
        f"train/{name}"
        for name in ("loss", "perplexity", "bits_per_byte", "tokens", "gradient_norm", "tokens_per_second")
    ),
    *(f"train/{name}" for name in ("utilisation", "data_wait", "peak_memory_gib")),
    *(f"val/{name}" for name in ("loss", "perplexity", "bits_per_byte", "tokens")),
]


@pytest.mark.parametrize("name", SCALARS)
def test_a_run_logs_scalar(events: EventAccumulator, name: str) -> None:
    points = events.Scalars(name)
    assert points
    assert all(point.value > 0 for point in points)


def test_a_run_logs_the_learning_rate_of_each_step(events: EventAccumulator, run: Path) -> None:
    (name,) = {tag for tag in events.Tags()["scalars"] if tag.startswith("lr-") and "/pg2" not in tag}
    rates = [point.value for point in events.Scalars(name)]
    assert max(rates) == pytest.approx(3e-3)
    assert rates[-1] < rates[len(rates) // 2]
    assert len(rates) == torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]


def test_perplexity_is_the_exponential_of_the_loss_at_every_point(events: EventAccumulator) -> None:
    for part in ("train", "val"):
        for loss, perplexity in zip(events.Scalars(f"{part}/loss"), events.Scalars(f"{part}/perplexity"), strict=True):
            assert loss.step == perplexity.step
            assert perplexity.value == pytest.approx(float(torch.tensor(loss.value).exp()), rel=1e-4)


def test_metrics_are_also_written_to_a_table(run: Path) -> None:
    table = pd.read_csv(run / "metrics.csv")
    assert {"step", "train/loss", "val/perplexity"} <= set(table.columns)
    assert table["val/perplexity"].dropna().iloc[-1] < table["val/perplexity"].dropna().iloc[0]


def test_the_hparams_tab_shows_settings_and_metrics(events: EventAccumulator, run: Path) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = {}
    for tag in ("_hparams_/experiment", "_hparams_/session_start_info"):
        content[tag] = HParamsPluginData.FromString(events.SummaryMetadata(tag).plugin_data.content)
    metrics = [info.name.tag for info in content["_hparams_/experiment"].experiment.metric_infos]
    settings = content["_hparams_/session_start_info"].session_start_info.hparams
    assert "val/perplexity" in metrics
    assert settings["model.lr"].number_value == pytest.approx(3e-3)
    assert "data.batch_tokens" in settings
    assert events.Scalars("val/perplexity")[-1].value > 0  # the tab shows this value under that name


def test_the_settings_are_written_beside_the_logs(run: Path, events: EventAccumulator) -> None:
    settings = yaml.safe_load((run / "hparams.yaml").read_text(encoding="utf-8"))
    assert settings["model.lr"] == 3e-3
    assert settings["trainer.max_epochs"] == 2
    assert settings["data.batch_tokens"] == 512
    writings = [event for path in run.glob("events*") for event in EventFileLoader(str(path)).Load()]
    tags = [value.tag for event in writings for value in event.summary.value]
    assert tags.count("_hparams_/session_start_info") == 1


def test_the_custom_scalars_tab_shows_training_beside_validation(events: EventAccumulator) -> None:
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

    (event,) = events.Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    charts = {chart.title: list(chart.multiline.tag) for category in layout.category for chart in category.chart}
    logged = events.Tags()["scalars"]
    shown = {title: {tag for tag in logged for one in tags if re.match(one, tag)} for title, tags in charts.items()}
    assert shown["Loss, training and validation"] == {"train/loss", "val/loss"}
    assert shown["Perplexity, training and validation"] == {"train/perplexity", "val/perplexity"}
    assert shown["Useful tokens per second"] == {"train/tokens_per_second"}
    unsafe = {"safety/dose", "safety/diagnosis", "safety/talked_out_of_care"}
    assert shown["Share of sample answers with a dose, a diagnosis, talk out of care"] == unsafe
    assert all(shown.values())  # no chart is empty


class Service(Logger):
    """A logger of another program, as MLflow's or that of Weights & Biases."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[dict[str, Any]] = []

    name, version = "service", "0"

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.given.append(dict(params))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        pass


def test_every_logger_gets_the_settings_once(folder: Path, tmp_path: Path) -> None:
    services = [Service(), Service()]
    fit(folder, tmp_path, [HyperParameters()], logger=services, max_steps=1)
    for service in services:
        (given,) = service.given
        assert given["model.lr"] == 3e-3
        assert given["data.max_length"] == 128
        assert given["model.lora"] is None
        assert given["model.from_scratch"] == str(tiny.NETWORK)
        assert all(isinstance(value, (bool, int, float, str, type(None))) for value in given.values())
