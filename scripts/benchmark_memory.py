"""Measures the memory of a fit from step to step, and its speed.

    python scripts/benchmark_memory.py --base FOLDER --data FILE --steps 160 --batch_tokens 4096 --json figures.json

A real `lightning-med fit` runs in a process of its own, in bf16-mixed. After each step its resident memory is read from
the system. Printed are the resident memory after some steps, its peak, the greatest value after step 10 relative to
that at step 10, and the useful tokens (of questions and answers) and all tokens a second after step 3.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.errors import InputError, check_range
from lightning_med.utils.files import write_text
from lightning_med.utils.memory.allocator import read_resident_memory

_SHOWN = (1, 3, 10, 20, 30, 48, 60, 80, 100, 120, 140)  # steps, and the last
_WARM_UP = 3  # steps before the clock counts
_FIT = "--fit"  # the script runs itself with it


def run_fit(arguments: list[str], figures: Path) -> int:
    """Runs `lightning-med fit` in this process and writes a line a step; see `summarize`."""
    import lightning as L

    from lightning_med.cli.command import main
    from lightning_med.training.callbacks.forecast import Forecast

    class Recorder(Forecast):
        """Takes the place of the forecast, which every fit has."""

        def on_train_batch_end(
            self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            useful = int(batch["window_answers"] + batch["window_questions"])
            row = [read_resident_memory(), batch["input_ids"].numel(), useful, time.time()]
            with figures.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    import lightning_med.cli.lightning_cli as command

    command.Forecast = Recorder  # type: ignore[misc]
    return main(["fit", *arguments])


def summarize(rows: list[list[float]]) -> dict[str, Any]:
    """Returns the figures of a fit.

    Args:
        rows: For each step resident bytes, tokens, useful tokens, and the time at its end in seconds.
    """
    memory = [row[0] / 2**30 for row in rows]
    timed = rows[_WARM_UP:]
    seconds = timed[-1][3] - rows[_WARM_UP - 1][3]
    return {
        "resident_gib": {step: memory[step - 1] for step in (*_SHOWN, len(rows)) if step <= len(rows)},
        "peak_gib": max(memory),
        "growth_after_step_10": max(memory[9:]) / memory[9],
        "useful_tokens_per_second": sum(row[2] for row in timed) / seconds,
        "tokens_per_second": sum(row[1] for row in timed) / seconds,
        "steps": len(rows),
    }


def parse_options(argv: list[str]) -> argparse.Namespace:
    """Parses and checks the options."""
    parser = Parser("benchmark_memory", "Measure the memory of a fit from step to step.")
    parser.add_argument("--base", required=True, help="folder of a base with its tokenizer")
    parser.add_argument("--data", default="sample", help="consultations (default: the embedded synthetic ones)")
    parser.add_argument("--steps", type=int, default=160, help="optimizer steps (default: 160)")
    parser.add_argument("--batch_tokens", type=int, default=4096, help="tokens of a batch (default: 4096)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the figures")
    options = parser.parse_args(argv)
    check_range("--steps", options.steps, 11)
    check_range("--batch_tokens", options.batch_tokens, 1)
    return options


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: that of the fit, or 2 for wrong input."""
    if argv[:1] == [_FIT]:
        return run_fit(argv[2:], Path(argv[1]))
    try:
        options = parse_options(argv)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.jsonl"
        settings = {
            "data.source": options.data,
            "data.tokenizer": options.base,
            "data.batch_tokens": options.batch_tokens,
            "model.base": options.base,
            "trainer.max_steps": options.steps,
            "trainer.precision": "bf16-mixed",
            "trainer.default_root_dir": folder,
            "trainer.limit_val_batches": 0,
            "samples.questions": 0,
        }
        arguments = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        status = subprocess.run([sys.executable, __file__, _FIT, str(figures), *arguments], check=False).returncode
        if status:
            return status
        result = summarize([json.loads(line) for line in figures.read_text(encoding="utf-8").splitlines()])
    print(json.dumps(result, indent=2))
    if options.json:
        write_text(options.json, json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
