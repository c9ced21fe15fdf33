"""Benchmarks the cost of reliability: steps per second with all of its features and without them.

    python scripts/benchmark_reliability.py [--pairs 10] [--steps 24]

Fits with and without the features alternate. The network is that of configs/quickstart_small.yaml: it is so small that
work beside its arithmetic shows; with a larger one the cost is lower. With the features, a fit writes checkpoints in
the background, one of them while it is timed, handles signals, reseeds the random stream for every batch, and checks
every loss and gradient. Without them, it is a fit of Lightning's trainer that does none of this.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import yaml

from lightning_med.checkpoints.writing import AtomicCheckpointIO
from lightning_med.cli.parsing.arguments import Parser
from lightning_med.cli.shipped_configs import get_shipped_folder
from lightning_med.data.module import DialogueDataModule
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.callbacks.save_on_signal import SaveOnSignal
from lightning_med.training.module import DialogueLM
from lightning_med.utils.console import say, show_progress, silence_warnings
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text
from lightning_med.utils.precision import choose_precision

_WARM_UP = 4  # untimed steps at the start of a fit


class UncheckedLM(DialogueLM):
    """Neither reseeds the random stream nor checks losses and gradients."""

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> Any:
        skip: Any = lambda *args: None  # noqa: E731
        self.loss_monitor.add_batch, self.loss_monitor.check_step = skip, skip  # type: ignore[method-assign]
        return super().configure_optimizers()


class Clock(L.Callback):
    """Times the steps after the warm-up."""

    def __init__(self) -> None:
        self.start = self.seconds = 0.0

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.global_step == _WARM_UP:
            self.start = time.perf_counter()
        self.seconds = time.perf_counter() - self.start


def measure_speed(settings: dict[str, Any], folder: Path, steps: int, reliable: bool) -> float:
    """Returns the steps per second of one fit.

    Args:
        settings: Content of a config file.
        folder: Folder of the run and of its cache.
        steps: Steps of the fit, with the warm-up.
        reliable: Whether the features are on.
    """
    clock = Clock()
    # One save halfway through the timed steps; that of the last step comes after the clock has stopped.
    features: list[Any] = [Checkpoints(every_n_train_steps=(steps + _WARM_UP) // 2), SaveOnSignal()] if reliable else []
    L.seed_everything(42)
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        precision=choose_precision(settings["trainer"]["precision"], "cpu"),
        max_steps=steps,
        limit_val_batches=0,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=reliable,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[*features, clock],
        plugins=[AtomicCheckpointIO()] if reliable else None,
    )
    module = (DialogueLM if reliable else UncheckedLM)(**settings["model"])
    trainer.fit(module, DialogueDataModule(**settings["data"], cache_dir=str(folder / "cache")))
    return (steps - _WARM_UP) / clock.seconds


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 1 if the median ratio is below 0.98, 2 for wrong input."""
    parser = Parser("benchmark_reliability", "Benchmark the cost of reliability.")
    parser.add_argument("--pairs", type=int, default=10, help="fits with and without the features (default: 10)")
    parser.add_argument("--steps", type=int, default=24, help="steps of each fit, the first 4 untimed (default: 24)")
    parser.add_argument("--keep", type=Path, help="file for the result, for the page on reliability")
    try:
        options: argparse.Namespace = parser.parse_args(argv)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    silence_warnings()
    settings = yaml.safe_load((get_shipped_folder() / "quickstart_small.yaml").read_text(encoding="utf-8"))
    ratios = []
    with tempfile.TemporaryDirectory() as name, show_progress("Pairs") as progress:
        measure_speed(settings, Path(name), _WARM_UP + 2, True)  # prepares the data and warms up the libraries
        for pair in range(options.pairs):
            progress("fits", pair, options.pairs)
            order = (True, False) if pair % 2 else (False, True)
            speed = {reliable: measure_speed(settings, Path(name), options.steps, reliable) for reliable in order}
            ratios.append(speed[True] / speed[False])
            say(f"pair {pair}: {speed[True]:.2f} steps/s on, {speed[False]:.2f} without, ratio {ratios[-1]:.3f}")
    low, high = estimate_interval(ratios)
    median = statistics.median(ratios)
    result = f"median ratio {median:.3f} of {options.pairs} interleaved pairs, 95 % interval {low:.3f} to {high:.3f}"
    say(result)
    if options.keep:
        write_text(options.keep, result + "\n")
    return int(median < 0.98)


def estimate_interval(values: list[float], draws: int = 10_000) -> tuple[float, float]:
    """Returns a 95 % interval of the median, by the percentile bootstrap (Efron, 1979)."""
    samples = np.random.default_rng(0).choice(values, (draws, len(values)))
    low, high = np.percentile(np.median(samples, axis=1), [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
