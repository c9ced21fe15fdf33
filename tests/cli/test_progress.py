"""What a fit prints while it runs, without a terminal and with other progress bars."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from tests import tiny
from tests.cli.helpers import run_refused, write_small_config

LINE = re.compile(
    r"^step (\d+) of (\d+): loss (\S+), rate (\S+), (\S+) tokens/s(?:, \d+:\d\d:\d\d left)?$", re.MULTILINE
)
TQDM = {"class_path": "lightning.pytorch.callbacks.TQDMProgressBar", "init_args": {"refresh_rate": 2}}
RATES = {"class_path": "lightning.pytorch.callbacks.LearningRateMonitor", "init_args": {"logging_interval": "step"}}


def read_metrics(run: Path) -> dict[int, tuple[str, str, str]]:
    """Returns loss, rate and tokens a second of `metrics.csv` as they are printed, by step, counted from 1."""
    table = pd.read_csv(run / "metrics.csv").groupby("step").first()
    (rate,) = [name for name in table.columns if name.startswith("lr-") and "/pg2" not in name]
    values = table[["train/loss", rate, "train/tokens_per_second"]].dropna()
    return {int(step) + 1: (f"{a:.3f}", f"{b:.1e}", f"{c:,.0f}") for step, a, b, c in values.itertuples()}


def test_each_logged_step_of_a_fit_and_of_its_continuation_is_a_line(folder: Path, tmp_path: Path) -> None:
    config = write_small_config(
        folder, tmp_path, accumulate_grad_batches=2, log_every_n_steps=2, callbacks=[RATES], max_steps=4
    )
    printed = {}
    for steps, options in ((4, ()), (6, ("--ckpt_path", "last", "--trainer.max_steps", 6))):
        status, out, err = tiny.command("fit", "--config", config, *options, cwd=tmp_path)
        assert status == 0, err
        found = LINE.findall(out)
        assert {int(total) for _, total, *_ in found} == {steps}
        printed |= {int(step): tuple(values) for step, _, *values in found}
        assert len(re.findall(r"^validation at step 4: perplexity \d+\.\d\d$", out, re.MULTILINE)) == (steps == 4)
    assert list(printed) == [2, 4, 6]
    assert printed == read_metrics(tmp_path / "lightning_logs" / "small" / "version_0")


def test_a_fit_without_a_progress_bar_prints_lines(folder: Path, tmp_path: Path) -> None:
    config = write_small_config(folder, tmp_path, enable_progress_bar=False)
    status, out, err = tiny.command("fit", "--config", config, cwd=tmp_path)
    assert status == 0, err
    assert [step for step, *_ in LINE.findall(out)] == ["1", "2"]
    checkpoint = tmp_path / "lightning_logs" / "small" / "version_0" / "checkpoints" / "last.ckpt"
    for verb in ("validate", "test", "predict"):
        argv = (verb, "--ckpt_path", checkpoint, "--trainer.enable_progress_bar", "false")
        assert tiny.command(*argv, cwd=tmp_path)[0] == 0, verb
    assert tiny.command("prepare", "--config", config, cwd=tmp_path)[0] == 0


def test_a_users_progress_bar_replaces_ours(folder: Path, tmp_path: Path) -> None:
    config = write_small_config(folder, tmp_path, callbacks=[TQDM])
    status, out, err = tiny.command("fit", "--config", config, cwd=tmp_path)
    assert status == 0, err
    assert "Epoch 0:  25%|" in out
    assert "Epoch 0:  12%|" not in out  # its refresh rate
    assert not LINE.findall(out)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"enable_progress_bar": False, "callbacks": [TQDM]}, "found `TQDMProgressBar`"),
        ({"callbacks": [TQDM, TQDM]}, "only one progress bar is supported"),
    ],
)
def test_contradicting_progress_bars_are_refused(
    folder: Path, tmp_path: Path, changes: dict[str, object], what: str
) -> None:
    assert what in run_refused("fit", "--config", write_small_config(folder, tmp_path, **changes), cwd=tmp_path)
