"""Benchmarks how the time and memory of training grow with the number of rows and with their length.

    python scripts/benchmark_growth.py --data FILE --tokenizer GPT2_FOLDER --json figures.json

Trains one epoch on nine tenths of the rows: this package on 1, 2, 4 and 8 times `--rows` and with three maximal lengths
of a consultation, Hugging Face's Trainer on 1 and 2 times `--rows`. Longer consultations are cut; a batch has about the
same number of tokens at every length. Each training is a call of scripts/benchmark_training.py, which describes what is
timed and how memory is measured. Without `--data` the corpus is synthetic. Needs `pip install -e '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError, check_range
from lightning_med.utils.files import write_text

LENGTH, BATCH = 512, 16  # tokens of a consultation at most, consultations in a batch
SHORT_LENGTHS = (128, 256)
PLAN = [("ours", factor, LENGTH) for factor in (1, 2, 4, 8)]  # contender, multiple of `--rows`, length
PLAN += [("trainer", factor, LENGTH) for factor in (1, 2)]
PLAN += [("ours", 2, length) for length in SHORT_LENGTHS]


def measure_epoch(
    options: argparse.Namespace, contender: str, factor: int, length: int, folder: Path
) -> dict[str, Any]:
    """Trains one contender for an epoch.

    Args:
        options: Of this script.
        contender: Name of a contender of benchmark_training.
        factor: Multiple of `--rows`.
        length: Tokens of a consultation at most.
        folder: Temporary folder for the figures.

    Raises:
        InputError: The training failed; the message holds the end of its standard error.
    """
    rows, batch = options.rows * factor, BATCH * LENGTH // length
    figures = folder / "figures.json"
    arguments: dict[str, object] = {
        "rows": rows,
        "tokenizer": options.tokenizer,
        "updates": max(rows * 9 // 10 // batch, 1),
        "repetitions": 1,
        "batch": batch,
        "length": length,
        "only": contender,
        "json": figures,
        **{name: getattr(options, name) for name in ("layers", "width", "heads")},
    }
    if options.data:
        arguments["data"] = options.data
    argv = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    script = Path(__file__).with_name("benchmark_training.py")
    process = subprocess.run([sys.executable, str(script), *argv], capture_output=True, text=True)
    if process.returncode:
        raise InputError(f"{contender} on {rows} rows failed:\n{process.stderr[-2000:].strip()}")
    results = json.loads(figures.read_text(encoding="utf-8"))
    (training,) = results[contender]["rounds"]
    return {
        "contender": contender,
        "rows": results["rows"],
        "length": length,
        "epoch_seconds": training["seconds"] / training["rows"] * rows * 9 / 10,
        "useful_tokens_per_second": training["useful_tokens_per_second"],
        "peak_memory_bytes": results[contender]["peak_memory_bytes"],
        "machine": results["machine"],
    }


def format_table(results: list[dict[str, Any]]) -> str:
    """Returns the figures as a Markdown table."""
    lines = [
        "| contender | rows | length | an epoch | useful tokens a second | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for row in results:
        lines.append(
            f"| {row['contender']} | {row['rows']:,} | {row['length']} | {row['epoch_seconds']:,.0f} s"
            f" | {row['useful_tokens_per_second']:,.0f} | {row['peak_memory_bytes'] / 2**20:,.0f} MiB |"
        )
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 2 for wrong input."""
    parser = Parser("benchmark_growth", "Benchmark how training grows with rows and length.")
    parser.add_argument("--rows", type=int, default=150, help="rows of the smallest table (default: 150)")
    parser.add_argument("--data", metavar="FILE", help="a CSV with columns input and output; default: synthetic")
    parser.add_argument("--tokenizer", required=True, metavar="DIR", help="a folder with GPT-2's tokenizer")
    parser.add_argument("--layers", type=int, default=6, help="layers of the network (default: 6)")
    parser.add_argument("--width", type=int, default=768, help="width of the network (default: 768)")
    parser.add_argument("--heads", type=int, default=12, help="attention heads of the network (default: 12)")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="file for the figures")
    try:
        options = parser.parse_args(argv)
        check_range("--rows", options.rows, 40)
        results: list[dict[str, Any]] = []
        with show_progress("Growth") as progress, tempfile.TemporaryDirectory() as folder:
            for number, (contender, factor, length) in enumerate(PLAN):
                progress(f"{contender}, {options.rows * factor} rows, length {length}", number, len(PLAN))
                results.append(measure_epoch(options, contender, factor, length, Path(folder)))
        write_text(options.json, json.dumps(results, indent=2) + "\n")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(format_table(results))
    print(f"\nfigures: {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
