"""What reliability costs: steps a second with all of it on, against the same fit without, in interleaved pairs.

    python scripts/benchmark_reliability.py [--pairs 10] [--steps 24]

The model is the quickstart's, small enough that what a step costs beside its arithmetic shows; larger ones hide more of
it. "On" is what the command does: checkpoints in the background, one of them in each measured stretch, signals, the
random stream set anew and the numbers looked at in every step. "Without" is Lightning's trainer with none of these.
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
from lightning_med.cli.arguments import Parser
from lightning_med.cli.shipped_configs import shipped_folder
from lightning_med.data.module import DialogueDataModule
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.callbacks.save_on_signal import SaveOnSignal
from lightning_med.training.module import DialogueLM
from lightning_med.utils.console import say, show_progress, silence_warnings
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text
from lightning_med.utils.precision import choose_precision

_WARM = 4  # steps before the clock starts


class Plain(DialogueLM):
    """Neither random numbers set anew nor numbers looked at."""

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> Any:
        nothing: Any = lambda *args: None  # noqa: E731
        self.loss_monitor.add_batch, self.loss_monitor.check_step = nothing, nothing  # type: ignore[method-assign]
        return super().configure_optimizers()


class Clock(L.Callback):
    """Seconds from the warm step to the last."""

    def __init__(self) -> None:
        self.begun = self.seconds = 0.0

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.global_step == _WARM:
            self.begun = time.perf_counter()
        self.seconds = time.perf_counter() - self.begun


def measured(settings: dict[str, Any], place: Path, steps: int, reliable: bool) -> float:
    """Steps a second of one fit."""
    clock = Clock()
    # Saves in the middle of the measured stretch; the last step's comes after the clock.
    more: list[Any] = [Checkpoints(every_n_train_steps=(steps + _WARM) // 2), SaveOnSignal()] if reliable else []
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
        default_root_dir=place,
        callbacks=[*more, clock],
        plugins=[AtomicCheckpointIO()] if reliable else None,
    )
    model = (DialogueLM if reliable else Plain)(**settings["model"])
    trainer.fit(model, DialogueDataModule(**settings["data"], cache_dir=str(place / "cache")))
    return (steps - _WARM) / clock.seconds


def main(argv: list[str]) -> int:
    """Returns the exit status: 1 where the median ratio is below 0.98."""
    parser = Parser("benchmark_reliability", "What reliability costs.")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=24, help="of each fit, the first four unmeasured")
    parser.add_argument("--keep", type=Path, help="a file for the result, for the page on reliability")
    try:
        given: argparse.Namespace = parser.parse_args(argv)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    silence_warnings()
    settings = yaml.safe_load((shipped_folder() / "quickstart.yaml").read_text(encoding="utf-8"))
    ratios = []
    with tempfile.TemporaryDirectory() as name, show_progress("Pairs") as tell:
        measured(settings, Path(name), _WARM + 2, True)  # makes the data, warms the libraries
        for pair in range(given.pairs):
            tell("fits", pair, given.pairs)
            order = (True, False) if pair % 2 else (False, True)
            pace = {reliable: measured(settings, Path(name), given.steps, reliable) for reliable in order}
            ratios.append(pace[True] / pace[False])
            say(f"pair {pair}: {pace[True]:.2f} steps/s on, {pace[False]:.2f} without, ratio {ratios[-1]:.3f}")
    low, high = interval(ratios)
    median = statistics.median(ratios)
    found = f"median ratio {median:.3f} of {given.pairs} interleaved pairs, 95 % interval {low:.3f} to {high:.3f}"
    say(found)
    if given.keep:
        write_text(given.keep, found + "\n")
    return int(median < 0.98)


def interval(values: list[float], draws: int = 10_000) -> tuple[float, float]:
    """Of the median, by the percentile bootstrap (Efron, 1979)."""
    drawn = np.random.default_rng(0).choice(values, (draws, len(values)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
