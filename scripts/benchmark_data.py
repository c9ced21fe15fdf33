"""Benchmarks data preparation, with an empty cache and with a full one, against the way of a typical notebook.

    python scripts/benchmark_data.py --rows 112165 --tokenizer GPT2_FOLDER --json figures.json

`notebook`    pandas, dropna, a random split, `datasets.map` with padding to 512; it cleans nothing
`same_steps`  lightning-med with only those steps switched on
`cold`        lightning-med with its defaults (cleaning, private data, near-duplicates, report) and an empty cache
`cached`      the same with the cache that `cold` left

Each variant runs in a process of its own and is timed there, imports excluded. Peak memory is the highest sum of PSS
over the process and its children, sampled up to ten times a second; disk is the size of the files it leaves. Without
`--data` the corpus is synthetic (scripts/make_corpus.py).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measurement import describe_machine, run_measured, write_corpus

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError, check_range
from lightning_med.utils.files import write_text

LENGTH = 512  # maximal tokens of a row in `notebook` and `same_steps`
VARIANTS = ("notebook", "same_steps", "cold", "cached")
_PACKAGES = ("pandas", "pyarrow", "datasets", "transformers", "tokenizers")


def prepare_notebook(data: str, tokenizer: str, folder: Path) -> Callable[[], int]:
    """Returns a function that prepares data as a typical notebook does and returns the number of rows.

    The whole table is one frame, every row is padded to `LENGTH`, and the labels are a copy of the ids.
    """
    import pandas as pd
    from datasets import Dataset
    from transformers import AutoTokenizer

    def run() -> int:
        loaded = AutoTokenizer.from_pretrained(tokenizer)
        loaded.pad_token = loaded.eos_token
        frame = pd.read_csv(data).dropna()
        frame["text"] = "Patient: " + frame["input"] + "\n\nDoctor: " + frame["output"] + loaded.eos_token
        splits = Dataset.from_pandas(frame[["text"]], preserve_index=False).train_test_split(test_size=0.1, seed=42)

        def encode(rows: dict[str, list[str]]) -> Any:
            encoded = loaded(rows["text"], truncation=True, padding="max_length", max_length=LENGTH)
            encoded["labels"] = encoded["input_ids"].copy()
            return encoded

        for name, split in splits.items():
            split.map(encode, batched=True, remove_columns=["text"], cache_file_name=str(folder / f"{name}.arrow"))
        return len(frame)

    return run


def prepare_module(data: str, tokenizer: str, folder: Path, **settings: Any) -> Callable[[], int]:
    """Returns a function that prepares data with `DialogueDataModule`, opens it and returns the number of rows."""
    from lightning_med.data.module import DialogueDataModule

    def run() -> int:
        module = DialogueDataModule(data, tokenizer=tokenizer, cache_dir=str(folder), **settings)
        module.prepare_data()
        module.setup()
        for split in ("train", "validation", "test"):
            module.store(split)
        return int(module.prepared.report["rows_in"])

    return run


def make_variant(name: str, data: str, tokenizer: str, folder: Path) -> Callable[[], int]:
    """Imports everything that a variant needs and returns the function to time."""
    if name == "notebook":
        return prepare_notebook(data, tokenizer, folder)
    if name != "same_steps":
        return prepare_module(data, tokenizer, folder)
    from lightning_med.data.cleaning.cleaner import ALWAYS, resolve_rules

    rules = {rule: rule in ALWAYS for rule in resolve_rules({})}
    off = {"rules": rules, "private_data": False, "near_duplicates": False, "system_prompt": "", "val_fraction": 0.0}
    return prepare_module(data, tokenizer, folder, max_length=LENGTH, eval_max_length=LENGTH, **off)


def run_variant(name: str, data: str, tokenizer: str, folder: Path) -> None:
    """Runs one variant in this process and prints its seconds and rows as JSON."""
    run = make_variant(name, data, tokenizer, folder)
    start = time.perf_counter()
    rows = run()
    print(json.dumps({"seconds": time.perf_counter() - start, "rows": rows}))


def measure_variant(name: str, data: str, tokenizer: str, folder: Path) -> dict[str, Any]:
    """Runs one variant in a child process and returns its figures.

    Raises:
        InputError: The variant failed; the message holds the end of its standard error.
    """
    folder.mkdir(exist_ok=True)
    options = ["--variant", name, "--data", data, "--tokenizer", tokenizer, "--folder", folder]
    row, memory = run_measured(name, [__file__, *options])
    disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    sizes = {"peak_memory_bytes": memory.find_peak(), "disk_bytes": disk}
    return {**row, "rows_per_second": row["rows"] / row["seconds"], **sizes}


def format_table(figures: dict[str, Any]) -> str:
    """Returns the figures as a Markdown table."""
    notebook = figures["notebook"]
    lines = [
        "| variant | seconds | of the notebook's | rows a second | peak memory (PSS) | on disk |",
        "|---|---|---|---|---|---|",
    ]
    for name in VARIANTS:
        row = figures[name]
        lines.append(
            f"| {name} | {row['seconds']:.2f} | {row['seconds'] / notebook['seconds']:.3f}"
            f" | {row['rows_per_second']:,.0f}"
            f" | {row['peak_memory_bytes'] / 2**20:,.0f} MiB | {row['disk_bytes'] / 2**20:,.0f} MiB |"
        )
    return "\n".join(lines)


def run_benchmark(options: argparse.Namespace) -> None:
    """Measures every variant on one corpus; writes and prints the figures."""
    with tempfile.TemporaryDirectory() as name, show_progress("Measuring") as progress:
        folder = Path(name)
        data, rows = write_corpus(options.data, options.rows, options.tokenizer, folder, progress)
        machine, synthetic = describe_machine(_PACKAGES), options.data is None
        figures: dict[str, Any] = {"machine": machine, "rows": rows, "synthetic": synthetic}
        for number, variant in enumerate(VARIANTS):
            progress(variant, number, len(VARIANTS))
            place = "cold" if variant == "cached" else variant
            figures[variant] = measure_variant(variant, data, options.tokenizer, folder / place)
    write_text(options.json, json.dumps(figures, indent=2) + "\n")
    print(f"{rows:,} {'synthetic ' if synthetic else ''}rows; {json.dumps(machine)}\n")
    print(format_table(figures))
    print(f"\nfigures: {options.json}")


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 2 for wrong input."""
    parser = Parser("benchmark_data", "Benchmark data preparation against the way of a typical notebook.")
    parser.add_argument("--rows", type=int, default=112_165, help="rows of the corpus (default: 112165)")
    parser.add_argument(
        "--data", metavar="FILE", help="a CSV with columns input and output (default: a synthetic corpus)"
    )
    parser.add_argument("--tokenizer", required=True, metavar="DIR", help="a folder with GPT-2's tokenizer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the figures; required")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    try:
        options = parser.parse_args(argv)
        if options.variant:
            run_variant(options.variant, options.data, options.tokenizer, options.folder)
            return 0
        check_range("--rows", options.rows, 10)
        if options.json is None:
            raise InputError("benchmark_data: --json FILE is missing.", "Name a file for the figures.")
        for name in ("data", "tokenizer"):
            path = getattr(options, name)
            if path and not Path(path).exists():
                raise InputError(f"--{name} {path} does not exist.")
        run_benchmark(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
