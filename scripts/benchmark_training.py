"""Benchmarks training: this package and the usual alternatives, in one run.

    python scripts/benchmark_training.py --data FILE --tokenizer GPT2_FOLDER --json figures.json
    python scripts/benchmark_training.py --data FILE --base SMOLLM2_FOLDER --batch_tokens 4096 --json figures.json
    python scripts/benchmark_training.py --data FILE --shape llama --tokenizer GPT2_FOLDER --json figures.json

`notebook`  Hugging Face's Trainer, every row padded to `--length`, loss on all tokens
`trainer`   the same padded to the longest row of a batch, grouped by length, loss on the answer
`trl`       TRL's SFTTrainer in its fastest setting that trains the same loss on this machine
`loop`      a plain PyTorch loop in the manner of nanoGPT: packed blocks, attention across consultations
`ours`      what `lightning-med fit` runs

All contenders train the same network on the same token ids, with the same precision, AdamW and learning-rate schedule,
and about as many consultations, and so tokens, an update. The network is a GPT-2 of distilgpt2's shape (dropout 0.1
except on attention), a Llama of SmolLM2's, or that of a folder: its weights if it has any, else random ones. Each
contender runs in a process of its own that times itself after two updates. Rounds of all contenders follow one another,
and the figures are medians. Useful tokens are those of questions and answers, without prompt and padding. The
utilisation is the number of operations that the loss on the answers needs (lightning_med.model.flops), the same for
all contenders, divided by the time and by the peak measured in the same run. The final loss is that of held-back
answers. Memory is PSS, on a GPU what torch allocated: the peak, and how much it was in the first and in the last timed
update. Without `--data` the corpus is synthetic (scripts/make_corpus.py). Needs `pip install -e '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from measurement import describe_machine, run_measured, write_corpus
from training.clock import Clock
from training.networks import SHAPES, make_fields
from training.padding import compute_held_back_loss
from training.picture import draw_chart
from training.report import describe_network, find_memory, format_table, summarize_rounds
from training.settings import Settings

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.model.flops import FlopCount, measure_gemm_peak
from lightning_med.tokenization.prompts import SYSTEM_PROMPT
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError, check_range
from lightning_med.utils.files import write_text

CONTENDERS = {  # the module with its function `train_NAME`, and the libraries that it needs
    "notebook": ("training.trainers", ("accelerate",)),
    "trainer": ("training.trainers", ("accelerate",)),
    "trl": ("training.trainers", ("accelerate", "trl")),
    "loop": ("training.loops", ()),
    "ours": ("training.loops", ()),
}
_PACKAGES = ("torch", "transformers", "lightning", "accelerate", "trl")
_PEAK = "peak"  # a process like a contender that measures the machine instead


def run_contender(name: str, folder: Path) -> dict[str, Any]:
    """Runs one contender in this process and returns its figures; for `peak`, measures the machine instead."""
    settings = Settings.load(folder)
    if name == _PEAK:
        flops = measure_gemm_peak(settings.load_network(), settings.device, settings.dtype)
        return {"flops": flops, "gpu": settings.device.type == "cuda" and _get_gpu_name()}
    clock = Clock(settings)
    train = getattr(import_module(CONTENDERS[name][0]), f"train_{name}")
    trained, description = train(settings, clock)
    network = settings.load_network()
    network.load_state_dict(trained.state_dict())
    work = clock.work
    return {
        "way": description,
        "seconds": clock.seconds,
        "rows": work.rows,
        "useful_tokens": work.useful,
        "useful_tokens_per_second": work.useful / clock.seconds,
        "operations": FlopCount.from_network(network).count_step(work.tokens, work.squares, work.answers),
        "final_loss": compute_held_back_loss(network, settings.load_rows("test"), settings.device),
        "gpu_memory_bytes": clock.memory,
        "windows": clock.windows,
        "ids": settings.load_rows().digest,
    }


def _get_gpu_name() -> str:
    import torch

    return torch.cuda.get_device_name()


def run_benchmark(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Prepares the rows, runs all contenders in turn, and returns the figures by name."""
    with show_progress("Training") as progress:
        data, options.rows = write_corpus(options.data, options.rows, options.tokenizer, folder, progress)
        progress("preparing the rows", 0, 0)
        settings = Settings(
            str(folder),
            data,
            options.tokenizer,
            options.updates,
            options.batch,
            options.length,
            SYSTEM_PROMPT if options.prompt else "",
            options.base,
            make_fields(options.shape, options.layers, options.width, options.heads),
        )
        network = settings.prepare()
        if options.batch_tokens:
            mean = float(settings.load_rows().lengths.mean())
            settings = replace(settings, batch=max(round(options.batch_tokens / mean), 1))
        settings.save()
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in [_PEAK, *options.only]}
        total = len(rounds) * options.repetitions
        for number in range(total):
            turn, place = divmod(number, len(rounds))
            # The peak comes first in each round; the contender that follows it changes from round to round.
            start = turn % len(options.only)
            name = [_PEAK, *options.only[start:], *options.only[:start]][place]
            progress(f"round {turn + 1}, {name}", number, total)
            result, memory = run_measured(name, [__file__, "--contender", name, "--folder", folder])
            rounds[name].append({**result, **find_memory(result, memory)})
    peak = max(float(result["flops"]) for result in rounds[_PEAK])
    gpu = {"gpu": rounds[_PEAK][0]["gpu"]} if rounds[_PEAK][0]["gpu"] else {}
    return {
        "machine": {**describe_machine(_PACKAGES), **gpu},
        "rows": options.rows,
        "synthetic": options.data is None,
        "updates": options.updates,
        "repetitions": options.repetitions,
        "consultations_an_update": settings.batch,
        "length": options.length,
        "system_prompt": options.prompt,
        "base": options.base,
        "shape": network,
        "precision": "bf16" if settings.bf16 else "fp32",
        "gemm_peak_flops": peak,
        **{name: summarize_rounds(rounds[name], peak) for name in options.only},
    }


def _parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = Parser("benchmark_training", "Benchmark training, beside the usual alternatives.")
    parser.add_argument("--rows", type=int, default=600, help="rows of the corpus (default: 600)")
    parser.add_argument(
        "--data", metavar="FILE", help="a CSV with columns input and output; default: a synthetic corpus"
    )
    parser.add_argument("--tokenizer", metavar="DIR", help="a folder with a tokenizer; default: that of --base")
    parser.add_argument("--updates", type=int, default=16, help="optimizer steps that are timed (default: 16)")
    parser.add_argument("--repetitions", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--batch", type=int, default=16, help="consultations an update, about (default: 16)")
    parser.add_argument("--batch_tokens", type=int, help="tokens an update, about, in the place of --batch")
    parser.add_argument("--length", type=int, default=512, help="tokens of a consultation at most (default: 512)")
    parser.add_argument("--base", metavar="DIR", help="a folder with config.json, and weights unless they are random")
    parser.add_argument("--shape", choices=SHAPES, default="gpt2", help="family of the network (default: gpt2)")
    parser.add_argument("--layers", type=int, help="layers of the network (default: 6, of a llama 30)")
    parser.add_argument("--width", type=int, help="width of the network (default: 768, of a llama 576)")
    parser.add_argument("--heads", type=int, help="attention heads of the network (default: 12, of a llama 9)")
    parser.add_argument("--prompt", action="store_true", help="with the system prompt before every consultation")
    parser.add_argument("--only", metavar="NAMES", help=f"some of {','.join(CONTENDERS)}; default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the figures")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="file for a chart of them, for instance a PNG")
    parser.add_argument("--contender", choices=(_PEAK, *CONTENDERS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if not options.contender:
        _check_options(options)
    return options


def _check_options(options: argparse.Namespace) -> None:
    """Checks the options and turns `--only` into a list of names.

    Raises:
        InputError: An option is wrong or missing, or a library is not installed.
    """
    options.tokenizer = options.tokenizer or options.base
    for name, default in zip(("layers", "width", "heads"), SHAPES[options.shape], strict=True):
        if options.base and getattr(options, name) is not None:
            raise InputError(f"--{name} does not change the network of --base.", "Leave one of them out.")
        setattr(options, name, getattr(options, name) or default)
    for name in ("tokenizer", "json"):
        if getattr(options, name) is None:
            raise InputError(
                f"benchmark_training: --{name} is missing.", "benchmark_training --help shows the options."
            )
    for name in ("data", "tokenizer", "base"):
        path = getattr(options, name)
        if path and not Path(path).exists():
            raise InputError(f"--{name} {path} does not exist.")
    bounds = {"rows": 10, "updates": 1, "repetitions": 1, "batch": 1, "length": 64, "layers": 1, "width": 1, "heads": 1}
    if options.batch_tokens is not None:
        check_range("--batch_tokens", options.batch_tokens, 1)
    for name, bound in bounds.items():
        check_range(f"--{name}", getattr(options, name), bound)
    if options.width % options.heads:
        raise InputError(f"--width {options.width} is no multiple of --heads {options.heads}.")
    options.only = options.only.split(",") if options.only else list(CONTENDERS)
    for name in options.only:
        if name not in CONTENDERS:
            raise InputError(f"--only {name}: there is no such contender.", f"There are {', '.join(CONTENDERS)}.")
    needed = {library for name in options.only for library in CONTENDERS[name][1]} | {"psutil"}
    if options.picture:
        needed.add("matplotlib")
    missing = sorted(library for library in needed if find_spec(library) is None)
    if missing:
        raise InputError(
            f"Not installed: {', '.join(missing)}.", "pip install -e '.[bench]', or leave contenders out with --only."
        )


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 2 for wrong input."""
    try:
        options = _parse_arguments(argv)
        if options.contender:
            print(json.dumps(run_contender(options.contender, options.folder)))
            return 0
        with tempfile.TemporaryDirectory() as folder:
            results = run_benchmark(options, Path(folder))
        write_text(options.json, json.dumps(results, indent=2) + "\n")
        names = [name for name in CONTENDERS if name in results]
        if options.picture:
            draw_chart(results, names, options.picture)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    kind = "synthetic " if options.data is None else ""
    prompt = "with" if options.prompt else "without"
    peak = results["gemm_peak_flops"] / 1e9
    print(
        f"{options.rows:,} {kind}rows, {options.updates} updates of {results['consultations_an_update']},"
        f" {prompt} a system prompt; {describe_network(results['shape'])}; ",
        end="",
    )
    print(f"{results['precision']}, peak {peak:,.0f} GFLOP/s\n{json.dumps(results['machine'])}\n")
    print(format_table(results, names))
    print(f"\nfigures: {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
