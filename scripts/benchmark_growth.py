"""How training's time and memory grow with rows and with length.

    python scripts/benchmark_growth.py --data FILE --tokenizer GPT2_FOLDER --json figures.json

Ours over 1, 2, 4 and 8 times `--rows` and at three lengths, Hugging Face's Trainer over 1 and 2 times: each a whole
epoch of nine tenths of the rows, one after another, by scripts/benchmark_training.py, which says what is timed and what
memory is. `length` is the most tokens a consultation may have; longer ones are cut, and a batch keeps about as many
tokens. Without `--data` the corpus is synthetic. The libraries: `pip install -e '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lightning_med.cli.arguments import Parser
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError, check_range
from lightning_med.utils.files import write_text

LENGTH, BATCH = 512, 16
LENGTHS = (128, 256)  # beside 512
PLAN = [("ours", factor, LENGTH) for factor in (1, 2, 4, 8)]
PLAN += [("trainer", factor, LENGTH) for factor in (1, 2)]
PLAN += [("ours", 2, length) for length in LENGTHS]


def measured(given: argparse.Namespace, name: str, factor: int, length: int, folder: Path) -> dict[str, Any]:
    """One epoch of one contender.

    Raises:
        InputError: It failed; the message holds what it said last.
    """
    rows, batch = given.rows * factor, BATCH * LENGTH // length
    figures = folder / "figures.json"
    options: dict[str, object] = {
        "rows": rows,
        "tokenizer": given.tokenizer,
        "updates": max(rows * 9 // 10 // batch, 1),
        "repetitions": 1,
        "batch": batch,
        "length": length,
        "only": name,
        "json": figures,
    }
    if given.data:
        options["data"] = given.data
    for option in ("layers", "width", "heads"):
        options[option] = getattr(given, option)
    words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
    script = Path(__file__).with_name("benchmark_training.py")
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{name} over {rows} rows failed:\n{done.stderr[-2000:].strip()}")
    found = json.loads(figures.read_text(encoding="utf-8"))
    (once,) = found[name]["rounds"]
    trained = rows * 9 / 10
    return {
        "contender": name,
        "rows": found["rows"],
        "length": length,
        "epoch_seconds": once["seconds"] / once["rows"] * trained,
        "useful_tokens_per_second": once["useful_tokens_per_second"],
        "peak_memory_bytes": found[name]["peak_memory_bytes"],
        "machine": found["machine"],
    }


def table(found: list[dict[str, Any]]) -> str:
    """The figures in Markdown."""
    lines = [
        "| contender | rows | length | an epoch | useful tokens a second | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        lines.append(
            f"| {row['contender']} | {row['rows']:,} | {row['length']} | {row['epoch_seconds']:,.0f} s"
            f" | {row['useful_tokens_per_second']:,.0f} | {row['peak_memory_bytes'] / 2**20:,.0f} MiB |"
        )
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    parser = Parser("benchmark_growth", "Measure how training grows with rows and length.")
    parser.add_argument("--rows", type=int, default=150, help="rows of the smallest table (default: 150)")
    parser.add_argument("--data", metavar="FILE", help="a CSV with columns input and output; default: synthetic")
    parser.add_argument("--tokenizer", required=True, metavar="DIR", help="a folder with GPT-2's tokenizer")
    parser.add_argument("--layers", type=int, default=6, help="of the GPT-2 (default: 6)")
    parser.add_argument("--width", type=int, default=768, help="of the GPT-2 (default: 768)")
    parser.add_argument("--heads", type=int, default=12, help="of the GPT-2 (default: 12)")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the figures go")
    try:
        given = parser.parse_args(argv)
        check_range("--rows", given.rows, 40)
        found: list[dict[str, Any]] = []
        with show_progress("Growth") as tell, tempfile.TemporaryDirectory() as folder:
            for number, (name, factor, length) in enumerate(PLAN):
                tell(f"{name}, {given.rows * factor} rows, length {length}", number, len(PLAN))
                found.append(measured(given, name, factor, length, Path(folder)))
        write_text(given.json, json.dumps(found, indent=2) + "\n")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(found))
    print(f"\nfigures: {given.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
