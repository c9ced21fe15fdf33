"""Injects faults into real runs and checks how the runs handle them; prints how often each guarantee held.

    python scripts/torture.py [--quick] [--report docs/reliability.md] [--seed 0]

The runs train a tiny network on synthetic consultations in child processes. They are killed and sent signals, their
disks are filled, their files are damaged. The final state of a resumed run is compared, bit by bit, with that of an
uninterrupted one.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from faults import damage, disks, kills, nan_loss, predictions, ranks, signals, trainer_options, untrusted_files
from faults.runs import Progress, Result

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text

TEMPLATE = Path(__file__).parent / "faults" / "reliability.md"
COST = Path(__file__).parent / "faults" / "cost.txt"  # the last result of benchmark_reliability.py


def run_checks(quick: bool, folder: Path, rng: random.Random, progress: Progress) -> Iterator[Result]:
    """Runs all checks, one after another.

    Args:
        quick: Fewer runs for each check.
        folder: Folder of the runs.
        rng: Chooses times, stages and bits.
        progress: Shows the progress.
    """
    yield from kills.check_resumption(folder, 8 if quick else 50, rng, progress)
    yield from kills.check_saves(folder, 10 if quick else 100, rng, progress)
    yield from damage.check_damaged_checkpoints(folder, 5 if quick else 100, rng, progress)
    yield from disks.check_full_disk(folder, progress)
    yield from disks.check_read_only_mount(folder, progress)
    yield from signals.check_signals(folder, 2 if quick else 20, rng, progress)
    yield from signals.check_signals_in_loads(folder, 3 if quick else 12, rng, progress)
    yield from trainer_options.check_trainer_options(folder, 1 if quick else 5, rng, progress)
    yield from predictions.check_predictions(folder, 1 if quick else 6, rng, progress)
    yield from nan_loss.check_nan_loss(folder, progress)
    yield from untrusted_files.check_untrusted_files(folder, progress)
    yield from ranks.check_ranks(folder, quick, progress)


def write_report(path: Path, results: list[Result], minutes: float) -> None:
    """Fills in the template of the page on reliability."""
    system = f"{os.cpu_count()} cores, {platform.system()}"
    fields = {
        "table": "\n".join(f"| {what} | {held} of {total} |" for what, held, total in results),
        "machine": f"{system}, Python {platform.python_version()}, torch {torch.__version__}",
        "cost": COST.read_text(encoding="utf-8").strip() if COST.exists() else "not measured here",
        "minutes": f"{minutes:.0f}",
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in fields.items():
        text = text.replace(f"{{{name}}}", value)
    write_text(path, text)


def main(argv: list[str]) -> int:
    """Returns the exit status: 1 if a guarantee did not hold, 2 for wrong input."""
    parser = Parser("torture", "Inject faults into real runs and check how the runs handle them.")
    parser.add_argument("--quick", action="store_true", help="fewer runs for each check, takes minutes")
    parser.add_argument("--report", type=Path, help="file of the page that shows the results")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random times and places (default: 0)")
    try:
        options: argparse.Namespace = parser.parse_args(argv)
        torch.set_num_threads(1)  # a forked child must not inherit a thread pool, whose threads it lacks
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup` has it ignored, and the runs would rightly go on
        start, results = time.monotonic(), []
        with tempfile.TemporaryDirectory() as folder, show_progress("Torture") as progress:
            for what, held, total in run_checks(options.quick, Path(folder), random.Random(options.seed), progress):
                results.append((what, held, total))
                say(f"{held:>4} of {total:<4} {what}")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    minutes = (time.monotonic() - start) / 60
    say(f"{minutes:.1f} minutes")
    if options.report:
        write_report(options.report, results, minutes)
    return int(any(held < total for _, held, total in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
