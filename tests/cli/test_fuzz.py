"""Random combinations of settings: each fit ends with a run that resumes, or in two lines before any work."""

from __future__ import annotations

import copy
import csv
import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests import tiny

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))  # `make verify` tries more
_CALLBACKS = "lightning.pytorch.callbacks."
_LOGGERS = "lightning.pytorch.loggers."


def callback(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": _CALLBACKS + name, "init_args": arguments}


# Of each option values that a fit can have, then some that it cannot.
OPTIONS: dict[str, list[Any]] = {
    "trainer.max_epochs": [1, 2, 3, -1, None, 0],
    "trainer.min_epochs": [1, 2, 50],
    "trainer.min_steps": [1, 4],
    "trainer.max_time": ["00:00:01:00", {"minutes": 2}, "soon"],
    "trainer.limit_train_batches": [1, 3, 5, 0.4, 1.0, 100, 0, 0.01, -1],
    "trainer.limit_val_batches": [0, 1, 1.0, 0.01],
    "trainer.overfit_batches": [1, 3, 0.5],
    "trainer.fast_dev_run": [True, 2],
    "trainer.val_check_interval": [1, 2, 3, 0.3, 0.5, 1.0, 1000, 0, "00:00:00:10"],
    "trainer.check_val_every_n_epoch": [1, 2, None, 0],
    "trainer.num_sanity_val_steps": [0, 1, 2, -1],
    "trainer.log_every_n_steps": [0, 1, 3, 50, -1],
    "trainer.accumulate_grad_batches": [1, 2, 3, 5, 20, 0],
    "trainer.gradient_clip_val": [0, 0.1, 1, -1, None],
    "trainer.gradient_clip_algorithm": ["norm", "value", "both"],
    "trainer.precision": ["32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true", "16-true", "transformer-engine"],
    "trainer.deterministic": [True, False, "warn"],
    "trainer.benchmark": [True],
    "trainer.inference_mode": [False],
    "trainer.use_distributed_sampler": [False],
    "trainer.detect_anomaly": [True],
    "trainer.profiler": ["simple", "advanced", "xla"],
    "trainer.enable_model_summary": [True],
    "trainer.enable_progress_bar": [False, True],
    "trainer.enable_checkpointing": [True, False],
    "trainer.reload_dataloaders_every_n_epochs": [0, 1, 5],
    "trainer.barebones": [False, True],
    "trainer.devices": [1, "auto", "all", 0],
    "trainer.strategy": ["auto", "single_device", "fsdp", "ddp_spawn"],
    "trainer.sync_batchnorm": [True],
    "trainer.logger": [
        False,
        {"class_path": _LOGGERS + "CSVLogger", "init_args": {"save_dir": "more"}},
        {"class_path": _LOGGERS + "CometLogger"},
    ],
    "data.batch_tokens": [128, 256, 512, 4096, "auto", 64],
    "data.tokens_per_step": [256, 1000, 64],
    "data.max_length": [64, 128, 8],
    "data.val_fraction": [0.0, 0.2, 0.9],
    "data.test_fraction": [0.0, 0.3, 1.0],
    "data.pad_to_max_length": [True],
    "data.num_workers": [0, -1],
    "data.near_duplicates": [False],
    "data.private_data": [False],
    "data.rules": [{"cut_answer": True}, {"no_rule": True}],
    "data.system_prompt": ["", "Be kind."],
    "model.lr": [0.0, 1e-3, -1.0],
    "model.warmup_fraction": [0.0, 1.0, 2.0],
    "model.question_weight": [0.0, 0.5, 1.0, 3.0],
    "model.attention_dropout": [0.0, 0.2],
    "model.gradient_checkpointing": [True],
    "model.freeze": [["*.h.0.*"], ["*.nothing.*"]],
    "optimizer": [{"class_path": "torch.optim.SGD", "init_args": {"lr": 0.01}}, {"class_path": "torch.optim.LBFGS"}],
    "samples.questions": [0, 2, -1],
    "checkpoint.every_n_train_steps": [1, 2, 0],
    "checkpoint.keep": [1, 5, 0],
    "seed_everything": [0, 7, -1],
}
CALLBACKS = [
    callback("EarlyStopping", monitor="val/perplexity", patience=1, min_delta=1e6),
    callback("EarlyStopping", monitor="val/loss", check_on_train_epoch_end=True),
    callback("EarlyStopping", monitor="train/loss"),
    callback("EarlyStopping", monitor="val_loss"),
    callback("GradientAccumulationScheduler", scheduling={0: 3, 1: 2}),
    callback("LearningRateMonitor"),
    callback("DeviceStatsMonitor"),
    callback("EMAWeightAveraging"),
    callback("WeightAveraging"),
    callback("Timer", duration="00:00:01:00"),
    callback("Timer", duration={"minutes": 1}, interval="epoch"),
    callback("ModelCheckpoint", monitor="val/loss", dirpath="theirs"),
    callback("ModelCheckpoint", every_n_train_steps=2, dirpath="theirs"),
    callback("OnExceptionCheckpoint", dirpath="theirs"),
    callback("RichModelSummary"),
    callback("TQDMProgressBar"),
    callback("StochasticWeightAveraging", swa_lrs=1e-3),
    callback("BatchSizeFinder"),
    callback("LearningRateFinder"),
]


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    """Draws up to six options, mostly with a value that a fit can have, up to two callbacks, and a number of steps."""
    names = draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=6, unique=True))
    chosen = {name: draw(st.sampled_from(OPTIONS[name][: draw(st.sampled_from([2, 2, 3, 99]))])) for name in names}
    chosen["trainer.callbacks"] = draw(
        st.lists(st.sampled_from(CALLBACKS[: draw(st.sampled_from([3, 16, 99]))]), max_size=2)
    )
    return {"trainer.max_steps": draw(st.integers(1, 7)), **chosen}


def apply(content: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    content = copy.deepcopy(content)
    for name, value in chosen.items():
        section, _, key = name.partition(".")
        if key:
            content.setdefault(section, {})[key] = copy.deepcopy(value)
        else:
            content[section] = value
    return content


def read_values(path: Path) -> Iterator[float]:
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield from (float(value) for value in row.values() if value)


def check_refusal(chosen: dict[str, Any], place: Path, out: str, err: str) -> None:
    lines = [line for line in err.strip().splitlines() if line.startswith(("lightning-med: ", "  "))]
    assert len(lines) == 2, err
    assert lines[0].startswith("lightning-med: "), err
    assert "Traceback" not in out + err
    assert not list(place.rglob("*.ckpt")), "refused after the work had begun"
    assert not list(place.glob("lightning_logs/*/version_*")), "a run that never began has a folder"


def check_run(place: Path, config: Path, out: str) -> None:
    (run,) = place.glob("lightning_logs/fuzz/version_*")
    if (run / "metrics.csv").is_file():
        assert all(map(math.isfinite, read_values(run / "metrics.csv")))
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in content["state_dict"].values())
    assert all(map(math.isfinite, json.loads(content["lightning_med"]["metrics"]).values()))
    step = int(content["global_step"])
    more = (
        "--resume",
        "auto",
        "--trainer.max_steps",
        step + 1,
        "--trainer.max_epochs",
        -1,
        "--trainer.min_steps",
        "null",
    )
    status, out, err = tiny.command("fit", "--config", config, *more, cwd=place)
    assert status == 0, err
    after = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    if content["lightning_med"]["finished"] == "early stopping":
        assert "is finished: it was stopped early" in out
    else:
        assert int(after["global_step"]) == step + 1


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a fit over a tiny table, whose data are prepared."""
    folder = tmp_path_factory.mktemp("fuzz")
    content = tiny.settings(folder, callbacks=[], max_steps=1)
    content["samples"] = {"questions": 0}
    return content


@pytest.mark.slow
def test_any_combination_of_settings_trains_or_is_refused(base: dict[str, Any]) -> None:
    ends: Counter[int] = Counter()

    @seed(0)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(changes())
    def try_settings(chosen: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            place, config = Path(folder), Path(folder) / "fuzz.yaml"
            config.write_text(yaml.safe_dump(apply(base, chosen)), encoding="utf-8")
            status, out, err = tiny.command("fit", "--config", config, cwd=place)
            ends[status] += 1
            assert status in (0, 2), err
            if status == 2:
                check_refusal(chosen, place, out, err)
            elif not chosen.get("trainer.fast_dev_run"):
                check_run(place, config, out)

    try_settings()
    assert ends[0] > EXAMPLES / 3
    assert ends[2] > EXAMPLES / 10
    print(f"{ends[0]} trained and resumed, {ends[2]} refused")
