"""Training, measured: ours beside the usual ways, in one run.

    python scripts/benchmark_training.py --data FILE --tokenizer GPT2_FOLDER --json figures.json

`notebook`  Hugging Face's Trainer, every row padded to `--length`, loss on all tokens
`trainer`   the same padded to the longest of a batch, like lengths together, loss on the answer
`trl`       TRL's SFTTrainer in its fastest setting that trains the same loss on this machine
`loop`      a plain PyTorch loop in nanoGPT's manner: packed blocks, attention across consultations
`ours`      what `lightning-med fit` runs

All train a GPT-2 of distilgpt2's shape from the same random weights on the same ids of each row, in one precision, with
one AdamW and one course of its rate, dropout 0.1 but on attention, and about as many consultations an update. Each runs
in a process of its own and is timed inside it after two updates; rounds are interleaved and medians told. Useful tokens
are those of questions and answers: no prompt, no padding. Utilisation is the arithmetic that the loss on the answers
needs (lightning_med.model.arithmetic), by one definition for all, over time and the peak measured in the same run. The
final loss is that of held-back answers. Memory is PSS, on a GPU what torch allocated. Without `--data` the corpus is
synthetic (scripts/make_corpus.py). The libraries: `pip install -e '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from measurement import describe_machine, run_measured, write_corpus
from training.picture import draw
from training.setting import Clock, Setting, held_back_loss

from lightning_med.cli.arguments import Parser
from lightning_med.tokenization.prompts import SYSTEM_PROMPT
from lightning_med.training.flops import FlopCount, measure_gemm_peak
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError, check_range
from lightning_med.utils.files import write_text

CONTENDERS = {  # where each is, and the libraries it needs
    "notebook": ("training.trainers", ("accelerate",)),
    "trainer": ("training.trainers", ("accelerate",)),
    "trl": ("training.trainers", ("accelerate", "trl")),
    "loop": ("training.loops", ()),
    "ours": ("training.loops", ()),
}
_PACKAGES = ("torch", "transformers", "lightning", "accelerate", "trl")
_PEAK = "peak"


def one(name: str, folder: Path) -> dict[str, Any]:
    """Runs one contender, or measures the machine's peak, in this process."""
    setting = Setting.load(folder)
    if name == _PEAK:
        gpu = setting.device.type == "cuda"
        return {"flops": measure_gemm_peak(setting.network(), setting.device, setting.dtype), "gpu": gpu and _gpu()}
    clock = Clock(setting)
    trained, way = getattr(import_module(CONTENDERS[name][0]), name)(setting, clock)
    network = setting.network()
    network.load_state_dict(trained.state_dict())
    share, held_back = clock.share, setting.rows("test")
    return {
        "way": way,
        "seconds": clock.seconds,
        "rows": share.rows,
        "useful_tokens": share.useful,
        "useful_tokens_per_second": share.useful / clock.seconds,
        "operations": FlopCount.of(network).step(share.tokens, share.squares, share.answers),
        "final_loss": held_back_loss(network, held_back, setting.device),
        "gpu_memory_bytes": clock.memory,
        "watched_until": clock.ended_at,
        "ids": setting.rows().digest,
    }


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name()


def race(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Prepares the rows, runs all contenders and returns the figures by name."""
    with show_progress("Training") as tell:
        data, given.rows = write_corpus(given.data, given.rows, given.tokenizer, folder, tell)
        tell("preparing the rows", 0, 0)
        shape = {"layers": given.layers, "width": given.width, "heads": given.heads}
        prompt = SYSTEM_PROMPT if given.prompt else ""
        setting = Setting(str(folder), data, given.tokenizer, given.updates, given.batch, given.length, prompt, **shape)
        setting.save()
        setting.prepare()
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in [_PEAK, *given.only]}
        total = len(rounds) * given.repetitions
        for number in range(total):
            turn, place = divmod(number, len(rounds))
            # The peak is measured first in each round, where nothing else runs; the others take turns to begin.
            start = turn % len(given.only)
            name = [_PEAK, *given.only[start:], *given.only[:start]][place]
            tell(f"round {turn + 1}, {name}", number, total)
            found, memory = run_measured(name, [__file__, "--contender", name, "--folder", folder])
            rounds[name].append({**found, "memory_bytes": memory})
    peak = max(float(found["flops"]) for found in rounds[_PEAK])
    gpu = {"gpu": rounds[_PEAK][0]["gpu"]} if rounds[_PEAK][0]["gpu"] else {}
    return {
        "machine": {**describe_machine(_PACKAGES), **gpu},
        "rows": given.rows,
        "synthetic": given.data is None,
        "updates": given.updates,
        "repetitions": given.repetitions,
        "consultations_an_update": given.batch,
        "length": given.length,
        "system_prompt": given.prompt,
        "shape": shape,
        "precision": "bf16" if setting.bf16 else "fp32",
        "gemm_peak_flops": peak,
        **{name: figures(rounds[name], peak) for name in given.only},
    }


def figures(rounds: list[dict[str, Any]], peak: float) -> dict[str, Any]:
    """Medians over a contender's rounds."""

    def middle(values: list[float]) -> float:
        return float(median(values))

    return {
        "useful_tokens_per_second": middle([found["useful_tokens_per_second"] for found in rounds]),
        "peak_memory_bytes": int(middle([found["gpu_memory_bytes"] or found["memory_bytes"] for found in rounds])),
        "final_loss": middle([found["final_loss"] for found in rounds]),
        "utilisation": middle([found["operations"] / found["seconds"] / peak for found in rounds]),
        "way": rounds[0]["way"],
        "ids": rounds[0]["ids"],
        "rounds": rounds,
    }


def table(found: dict[str, Any]) -> str:
    """The figures in Markdown."""
    lines = [
        "| contender | useful tokens a second | ours is faster by | utilisation | peak memory | final loss |",
        "|---|---|---|---|---|---|",
    ]
    ours = found.get("ours")
    for name in CONTENDERS:
        if name not in found:
            continue
        row = found[name]
        ratio = f"{ours['useful_tokens_per_second'] / row['useful_tokens_per_second']:.2f}" if ours else "–"
        lines.append(
            f"| {name} | {row['useful_tokens_per_second']:,.0f} | {ratio} | {row['utilisation']:.1%}"
            f" | {row['peak_memory_bytes'] / 2**20:,.0f} MiB | {row['final_loss']:.3f} |"
        )
    return "\n".join(lines)


def _checked(argv: list[str]) -> argparse.Namespace:
    parser = Parser("benchmark_training", "Measure training, beside the usual ways.")
    parser.add_argument("--rows", type=int, default=600, help="rows of the corpus (default: 600)")
    parser.add_argument(
        "--data", metavar="FILE", help="a CSV with columns input and output; default: a synthetic corpus"
    )
    parser.add_argument("--tokenizer", metavar="DIR", help="a folder with GPT-2's tokenizer")
    parser.add_argument("--updates", type=int, default=16, help="optimizer steps that are timed (default: 16)")
    parser.add_argument("--repetitions", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--batch", type=int, default=16, help="consultations an update, about (default: 16)")
    parser.add_argument("--length", type=int, default=512, help="tokens a consultation may have (default: 512)")
    parser.add_argument("--layers", type=int, default=6, help="of the GPT-2 (default: 6)")
    parser.add_argument("--width", type=int, default=768, help="of the GPT-2 (default: 768)")
    parser.add_argument("--heads", type=int, default=12, help="of the GPT-2 (default: 12)")
    parser.add_argument("--prompt", action="store_true", help="with the system prompt before every consultation")
    parser.add_argument("--only", metavar="NAMES", help=f"some of {','.join(CONTENDERS)}; default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="where a picture of them goes, for instance a PNG")
    parser.add_argument("--contender", choices=(_PEAK, *CONTENDERS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.contender:
        return given
    for name in ("tokenizer", "json"):
        if getattr(given, name) is None:
            raise InputError(
                f"benchmark_training: --{name} is missing.", "benchmark_training --help shows the options."
            )
    for option in ("data", "tokenizer"):
        path = getattr(given, option)
        if path and not Path(path).exists():
            raise InputError(f"--{option} {path} is not there.")
    least = {"rows": 10, "updates": 1, "repetitions": 1, "batch": 1, "length": 64, "layers": 1, "width": 1, "heads": 1}
    for name, bound in least.items():
        check_range(f"--{name}", getattr(given, name), bound)
    if given.width % given.heads:
        raise InputError(f"--width {given.width} is no multiple of --heads {given.heads}.")
    given.only = given.only.split(",") if given.only else list(CONTENDERS)
    for name in given.only:
        if name not in CONTENDERS:
            raise InputError(f"--only {name}: there is no such contender.", f"There are {', '.join(CONTENDERS)}.")
    needed = {library for name in given.only for library in CONTENDERS[name][1]} | {"psutil"}
    if given.picture:
        needed.add("matplotlib")
    missing = sorted(library for library in needed if find_spec(library) is None)
    if missing:
        raise InputError(
            f"Not installed: {', '.join(missing)}.", "pip install -e '.[bench]', or leave contenders out with --only."
        )
    return given


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    try:
        given = _checked(argv)
        if given.contender:
            print(json.dumps(one(given.contender, given.folder)))
            return 0
        with tempfile.TemporaryDirectory() as folder:
            found = race(given, Path(folder))
        write_text(given.json, json.dumps(found, indent=2) + "\n")
        if given.picture:
            draw(found, [name for name in CONTENDERS if name in found], given.picture)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    what = f"{given.rows:,} {'synthetic ' if given.data is None else ''}rows, {given.updates} updates of {given.batch}"
    prompt = "with" if given.prompt else "without"
    peak = found["gemm_peak_flops"] / 1e9
    print(f"{what}, {prompt} a system prompt; {found['precision']}, peak {peak:,.0f} GFLOP/s")
    print(f"{json.dumps(found['machine'])}\n")
    print(table(found))
    print(f"\nfigures: {given.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
