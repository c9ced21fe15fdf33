"""Benchmarks each optimization of the training step: the time of a step without it.

    python scripts/benchmark_changes.py --data FILE.csv --tokenizer GPT2_FOLDER --json changes.json

Each optimization is reverted in turn, and whole optimizer steps at distilgpt2's size are timed on the same batches,
interleaved; the figures are medians. A ratio above 1 says how much longer a step takes without the optimization.
Without `--data` the embedded synthetic consultations are used, with a tokenizer of 4,096 tokens.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from measurement import describe_machine
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW
from transformers import PreTrainedModel
from transformers.activations import NewGELUActivation

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.data.batching import collate
from lightning_med.data.module import DialogueDataModule
from lightning_med.model import attention, causal_lm
from lightning_med.model.fast_layers import FastDropout
from lightning_med.training.optimization.optimizer import make_adamw
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError, check_range
from lightning_med.utils.files import write_text
from lightning_med.utils.memory.allocator import keep_freed_memory
from lightning_med.utils.precision import has_cpu_bf16

Change = Callable[[PreTrainedModel], Any]  # returns a context manager in which the optimization is reverted


@contextmanager
def _replace_layers(network: PreTrainedModel, old: type, make: Callable[[Any], nn.Module]) -> Iterator[None]:
    """Replaces all layers of a type for the duration of a `with` block."""
    replaced = [
        (module, name, child)
        for module in network.modules()
        for name, child in module.named_children()
        if type(child) is old
    ]
    for module, name, child in replaced:
        setattr(module, name, make(child))
    try:
        yield
    finally:
        for module, name, child in replaced:
            setattr(module, name, child)


def _compute_plain_nll(hidden: Tensor, weight: Tensor, targets: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    """The usual loss: all logits of the answers at once, kept for the backward pass."""
    nll = cross_entropy((hidden @ weight.T).float(), targets, reduction="none")
    return nll.sum(), nll.detach()


CHANGES: dict[str, Change] = {
    "nothing": lambda network: nullcontext(),
    "dropout from 16 random bits": lambda network: _replace_layers(network, FastDropout, lambda old: nn.Dropout(old.p)),
    "GELU in one pass": lambda network: _replace_layers(network, nn.GELU, lambda old: NewGELUActivation()),
    "plain products for attention": lambda network: patch.object(attention, "_is_on_cpu", lambda query: False),
    "gradient of the loss in the logits' memory": lambda network: patch.object(
        causal_lm, "compute_answer_nll", _compute_plain_nll
    ),
    # The following are reverted by `_run_step` and its optimizer.
    "logits for the answers alone": lambda network: nullcontext(),
    "flat batches": lambda network: nullcontext(),
    "fused AdamW": lambda network: nullcontext(),
    "bfloat16": lambda network: nullcontext(),
}


def _run_step(
    change: str, network: PreTrainedModel, optimizer: AdamW, flat: collate.Batch, padded: collate.Batch
) -> None:
    bf16 = change != "bfloat16" and has_cpu_bf16()
    with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
        batch = padded if change == "flat batches" else flat
        question_weight = 1.0 if change == "logits for the answers alone" else 0.0
        loss = causal_lm.compute_nll(network, batch, question_weight)[0] / flat["answers"]
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def measure_changes(options: argparse.Namespace, progress: Callable[[str, int, int], None]) -> dict[str, float]:
    """Returns the median seconds of a step for each change of `CHANGES`."""
    data = DialogueDataModule(options.data, options.tokenizer, system_prompt="", batch_tokens=options.tokens)
    tokenizer, store = data.prepared.tokenizer, data.store("train")
    shape = {"n_layer": options.layers, "n_embd": options.width, "n_head": options.heads, "n_positions": 1024}
    network = causal_lm.build_from_scratch(shape, len(tokenizer), tokenizer.eos_token_id, 0.0, seed=1)
    optimizers = {fused: make_adamw(network, 5e-4, 0.01) for fused in (True, False)}
    for group in optimizers[False].param_groups:
        group.update(fused=False, foreach=False)
    plan = data.plan_epoch(0)[: options.rounds + 1]
    seconds: dict[str, list[float]] = {name: [] for name in CHANGES}
    for number, rows in enumerate(plan):
        flat = collate.collate_flat(store, rows)
        padded = collate.collate_padded(store, rows, int(store.lengths[rows].max()), 0)
        for place, (name, change) in enumerate(CHANGES.items()):
            progress(f"without {name}", number * len(CHANGES) + place, len(plan) * len(CHANGES))
            with change(network):
                start = time.perf_counter()
                _run_step(name, network, optimizers[name != "fused AdamW"], flat, padded)
                seconds[name].append(time.perf_counter() - start)
    return {name: median(times[1:] or times) for name, times in seconds.items()}  # the first round is a warm-up


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 2 for wrong input."""
    parser = Parser("benchmark_changes", "Benchmark each optimization of the training step.")
    parser.add_argument("--data", default="sample", help="consultations (default: the embedded synthetic ones)")
    parser.add_argument("--tokenizer", default="train", help="a folder or name; `train` trains one of 4,096 tokens")
    parser.add_argument("--tokens", type=int, default=3584, help="tokens per batch (default: 3584)")
    parser.add_argument("--rounds", type=int, default=5, help="timed steps per optimization (default: 5)")
    parser.add_argument("--layers", type=int, default=6, help="layers of the network (default: 6)")
    parser.add_argument("--width", type=int, default=768, help="width of the network (default: 768)")
    parser.add_argument("--heads", type=int, default=12, help="attention heads of the network (default: 12)")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="file for the figures")
    try:
        options = parser.parse_args(argv)
        for name in ("tokens", "rounds", "layers", "width", "heads"):
            check_range(f"--{name}", getattr(options, name), 1)
        keep_freed_memory()
        with show_progress("Changes") as progress:
            seconds = measure_changes(options, progress)
        machine = describe_machine(("torch", "transformers"))
        write_text(options.json, json.dumps({"machine": machine, "seconds": seconds}, indent=2) + "\n")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print("| without | seconds a step | ratio |\n|---|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {value:.2f} | {value / seconds['nothing']:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
