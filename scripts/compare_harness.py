"""Compares our likelihood of reference answers with that of lm-evaluation-harness, row by row.

    python scripts/compare_harness.py --model EXPORT --data RUN/predictions.jsonl [--lm_eval PYTHON]

Both run in float32 on the CPU (the harness's softmax in float64), over the answers without their ends. The harness runs
as a program of its own, with the task of `scripts/lm_eval_task`; `PYTHON` is that of the environment with lm-eval,
default this one. Rows that either side cannot measure whole are left out on both and counted. Exits with 1 where a row
differs by more than 1e-3 nats or the bits per byte by more than 1e-4.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval_task.utils import TASK, Row, read_rows

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError

ROW_LIMIT, BITS_LIMIT = 1e-3, 1e-4
_FOLDER = Path(__file__).parent / "lm_eval_task"


@dataclass(frozen=True)
class Score:
    """Negative log-likelihood (nats) of a row's answer without its end, and the answer's UTF-8 bytes."""

    nats: float
    size: int


def measure_ours(folder: Path, rows: list[Row]) -> dict[int, Score]:
    """Measures rows with this package; those that do not fit the network's context are left out.

    Args:
        folder: Of the model.
        rows: Of `read_rows`.

    Returns:
        Scores by the rows' numbers.
    """
    import torch

    from lightning_med.evaluation.likelihood.row_likelihood import measure_rows
    from lightning_med.inference.model_folder import open_model
    from lightning_med.model.execution import get_context_length

    model = open_model(folder)
    network: Any = model.load_network(torch.float32)
    network = network.to("cpu")
    encoder = model.encoder.with_max_length(get_context_length(network))
    rows = [row for row in rows if row["question"] and row["reference"]]
    questions, references = [row["question"] for row in rows], [row["reference"] for row in rows]
    scores: dict[int, Score] = {}
    measured = 0
    with show_progress("Measuring") as progress:
        for batch in measure_rows(network, encoder, questions, references):
            for place, row in batch.items():
                if not row["cut"]:
                    scores[rows[place]["number"]] = Score(row["answer"], row["answer_bytes"])
            measured += len(batch)
            progress("rows", measured, len(rows))
    return scores


def run_harness(python: str, folder: Path, data: Path) -> dict[int, Score]:
    """Measures the rows of a file with lm-evaluation-harness.

    Args:
        python: Interpreter of the environment with lm-eval.
        folder: Of the model.
        data: File of the rows.

    Returns:
        Scores by the rows' numbers.

    Raises:
        InputError: The harness cannot be run, or fails.
    """
    # Its softmax in float32 is off by about 6e-6 nats a token, always to the same side, for 49,152 words.
    arguments = {"pretrained": str(folder.resolve()), "dtype": "float32", "softmax_dtype": "float64"}
    with tempfile.TemporaryDirectory() as output:  # the samples hold consultations
        command = [
            *(python, "-m", "lm_eval", "run", "--model", "hf", "--model_args", json.dumps(arguments)),
            *("--tasks", TASK, "--include_path", str(_FOLDER), "--metadata", json.dumps({"data": str(data.resolve())})),
            *("--apply_chat_template", "--device", "cpu", "--batch_size", "1", "--log_samples"),
            *("--output_path", output),
        ]
        try:
            done = subprocess.run(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
        except OSError as error:
            raise InputError(f"--lm_eval {python}: {error.strerror}.", "Name the interpreter.") from error
        files = list(Path(output).rglob(f"samples_{TASK}_*.jsonl"))
        if done.returncode or not files:
            reason = (done.stderr.strip() or "no samples").splitlines()[-1]
            raise InputError(f"lm-evaluation-harness failed: {reason}", "Install it: pip install '.[bench]'")
        return read_samples(files[0])


def read_samples(file: Path) -> dict[int, Score]:
    """Reads the scores from the samples that the harness has logged."""
    samples = map(json.loads, file.read_text(encoding="utf-8").rstrip("\n").split("\n"))
    return {sample["doc"]["number"]: Score(sample["nats"], sample["doc"]["bytes"]) for sample in samples}


def compute_bits(scores: list[Score]) -> float:
    """Returns bits per byte."""
    return math.fsum(score.nats for score in scores) / math.log(2) / sum(score.size for score in scores)


def report(ours: dict[int, Score], theirs: dict[int, Score], count: int) -> tuple[str, bool]:
    """Compares the rows that both sides have measured.

    Args:
        ours, theirs: Scores by the rows' numbers.
        count: Rows of the file.

    Returns:
        What to print, and whether both agree.

    Raises:
        InputError: There is no such row.
    """
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        raise InputError("No row was measured by both.", "Give rows that fit the model's context.")
    largest = max(shared, key=lambda number: abs(ours[number].nats - theirs[number].nats))
    difference = abs(ours[largest].nats - theirs[largest].nats)
    bits = [compute_bits([side[number] for number in shared]) for side in (ours, theirs)]
    sizes = sum(ours[number].size != theirs[number].size for number in shared)
    lines = [
        f"{len(shared)} of {count} rows compared; left out: {count - len(ours)} by lightning_med,"
        f" {count - len(theirs)} by the harness",
        f"nats per row: at most {difference:.1e} apart (line {largest + 1}: {ours[largest].nats:.5f} by lightning_med,"
        f" {theirs[largest].nats:.5f} by the harness); limit {ROW_LIMIT:.0e}",
        f"bits per byte: {bits[0]:.7f} by lightning_med, {bits[1]:.7f} by the harness,"
        f" {abs(bits[0] - bits[1]):.1e} apart; limit {BITS_LIMIT:.0e}",
    ]
    if sizes:
        lines.append(f"{sizes} answers have another number of bytes")
    return "\n".join(lines), difference <= ROW_LIMIT and abs(bits[0] - bits[1]) <= BITS_LIMIT and not sizes


def compare(options: argparse.Namespace) -> bool:
    """Measures both ways, prints the comparison, and returns whether both agree."""
    try:
        rows = read_rows(options.data)
    except (OSError, ValueError) as error:
        raise InputError(f"--data {options.data}: {error}", "Give JSON lines with question and reference.") from error
    ours = measure_ours(options.model, rows)
    say("lm-evaluation-harness is running.")
    text, agree = report(ours, run_harness(options.lm_eval, options.model, options.data), len(rows))
    say(text)
    return agree


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status."""
    parser = Parser("compare_harness", "Compare our likelihood of answers with that of lm-evaluation-harness.")
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="an export, or a base")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE.jsonl", help="question and reference")
    parser.add_argument("--lm_eval", default=sys.executable, metavar="PYTHON", help="that has lm-eval (default: this)")
    try:
        return 0 if compare(parser.parse_args(argv)) else 1
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
