"""Preparing data, measured: ours, cold and from the cache, beside the usual notebook's way, in one run.

    python scripts/benchmark_data.py --rows 112165 --tokenizer GPT2_FOLDER --json figures.json

`notebook`    pandas, dropna, a random split, `datasets.map` with padding to 512; it cleans nothing
`same_steps`  ours with only those steps switched on
`cold`        ours as it comes: cleaning, private data, near-duplicates and all, on an empty cache
`cached`      the same again

Each way runs in a process of its own and is timed inside it, imports left out. Peak memory is the highest sum of PSS
over the process and its children, looked at ten times a second; disk is what lies there at the end. Without `--data`
the corpus is synthetic (scripts/make_corpus.py).
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

from measuring import apart, corpus, machine

from lightning_med.cli.arguments import Parser
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError, check_range
from lightning_med.utils.files import write_text

LENGTH = 512  # tokens a row, of the notebook's way and of its steps in ours
WAYS = ("notebook", "same_steps", "cold", "cached")
_PACKAGES = ("pandas", "pyarrow", "datasets", "transformers", "tokenizers")


def notebook(data: str, tokenizer: str, folder: Path) -> Callable[[], int]:
    """The usual notebook: the whole table as one frame, every row padded to `LENGTH`, labels a copy of the ids."""
    import pandas as pd
    from datasets import Dataset
    from transformers import AutoTokenizer

    def run() -> int:
        words = AutoTokenizer.from_pretrained(tokenizer)
        words.pad_token = words.eos_token
        frame = pd.read_csv(data).dropna()
        frame["text"] = "Patient: " + frame["input"] + "\n\nDoctor: " + frame["output"] + words.eos_token
        parts = Dataset.from_pandas(frame[["text"]], preserve_index=False).train_test_split(test_size=0.1, seed=42)

        def encoded(rows: dict[str, list[str]]) -> Any:
            found = words(rows["text"], truncation=True, padding="max_length", max_length=LENGTH)
            found["labels"] = found["input_ids"].copy()
            return found

        for name, part in parts.items():
            part.map(encoded, batched=True, remove_columns=["text"], cache_file_name=str(folder / f"{name}.arrow"))
        return len(frame)

    return run


def ours(data: str, tokenizer: str, folder: Path, **settings: Any) -> Callable[[], int]:
    """Our data module, up to a training loader."""
    from lightning_med.data.module import DialogueDataModule

    def run() -> int:
        module = DialogueDataModule(data, tokenizer=tokenizer, cache_dir=str(folder), **settings)
        module.prepare_data()
        module.setup()
        for split in ("train", "validation", "test"):
            module.store(split)
        return int(module.prepared.report["rows_in"])

    return run


def way(name: str, data: str, tokenizer: str, folder: Path) -> Callable[[], int]:
    """What is timed; everything it needs is imported."""
    if name == "notebook":
        return notebook(data, tokenizer, folder)
    if name != "same_steps":
        return ours(data, tokenizer, folder)
    from lightning_med.data.cleaning.cleaner import ALWAYS, resolve_rules

    off = {rule: rule in ALWAYS for rule in resolve_rules({})}
    plain = {"rules": off, "private_data": False, "near_duplicates": False, "system_prompt": "", "val_fraction": 0.0}
    return ours(data, tokenizer, folder, max_length=LENGTH, eval_max_length=LENGTH, **plain)


def one(name: str, data: str, tokenizer: str, folder: Path) -> None:
    """Runs one way in this process and prints its seconds and rows as JSON."""
    run = way(name, data, tokenizer, folder)
    start = time.perf_counter()
    rows = run()
    print(json.dumps({"seconds": time.perf_counter() - start, "rows": rows}))


def measured(name: str, data: str, tokenizer: str, folder: Path) -> dict[str, Any]:
    """Runs one way in a process of its own.

    Raises:
        InputError: It failed; the message holds what it said last.
    """
    folder.mkdir(exist_ok=True)
    options = ["--way", name, "--data", data, "--tokenizer", tokenizer, "--folder", folder]
    found, peak = apart(name, [__file__, *options])
    disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {**found, "rows_per_second": found["rows"] / found["seconds"], "peak_memory_bytes": peak, "disk_bytes": disk}


def table(found: dict[str, Any]) -> str:
    """The figures in Markdown."""
    base = found["notebook"]
    lines = [
        "| way | seconds | of the notebook's | rows a second | peak memory (PSS) | on disk |",
        "|---|---|---|---|---|---|",
    ]
    for name in WAYS:
        row = found[name]
        lines.append(
            f"| {name} | {row['seconds']:.2f} | {row['seconds'] / base['seconds']:.3f} | {row['rows_per_second']:,.0f}"
            f" | {row['peak_memory_bytes'] / 2**20:,.0f} MiB | {row['disk_bytes'] / 2**20:,.0f} MiB |"
        )
    return "\n".join(lines)


def benchmark(given: argparse.Namespace) -> None:
    """Measures every way on one corpus and writes the figures."""
    with tempfile.TemporaryDirectory() as name, show_progress("Measuring") as tell:
        folder = Path(name)
        data, given.rows = corpus(given.data, given.rows, given.tokenizer, folder, tell)
        found: dict[str, Any] = {"machine": machine(_PACKAGES), "rows": given.rows, "synthetic": given.data is None}
        for number, kind in enumerate(WAYS):
            tell(kind, number, len(WAYS))
            place = "cold" if kind == "cached" else kind
            found[kind] = measured(kind, data, given.tokenizer, folder / place)
    write_text(given.json, json.dumps(found, indent=2) + "\n")
    print(f"{given.rows:,} {'synthetic ' if given.data is None else ''}rows; {json.dumps(found['machine'])}\n")
    print(table(found))
    print(f"\nfigures: {given.json}")


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    parser = Parser("benchmark_data", "Measure how data is prepared, beside the usual notebook's way.")
    parser.add_argument("--rows", type=int, default=112_165, help="rows of the corpus (default: 112165)")
    parser.add_argument(
        "--data", metavar="FILE", help="a CSV with columns input and output; default: a synthetic corpus"
    )
    parser.add_argument("--tokenizer", required=True, metavar="DIR", help="a folder with GPT-2's tokenizer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    try:
        given = parser.parse_args(argv)
        if given.way:
            one(given.way, given.data, given.tokenizer, given.folder)
            return 0
        check_range("--rows", given.rows, 10)
        if given.json is None:
            raise InputError("benchmark_data: --json FILE is missing.", "It takes the figures.")
        for option in ("data", "tokenizer"):
            path = getattr(given, option)
            if path and not Path(path).exists():
                raise InputError(f"--{option} {path} is not there.")
        benchmark(given)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
