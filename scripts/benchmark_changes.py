"""What each change of the training step is worth: every one taken back in turn, in one run.

    python scripts/benchmark_changes.py --data FILE.csv --tokenizer GPT2_FOLDER --json changes.json

Whole optimizer steps of distilgpt2's shape on the same batches, interleaved, medians. A figure above 1 is how much
longer a step takes without the change. Without `--data`, the embedded synthetic consultations and a tokenizer of
4,096 tokens.
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
from measuring import machine
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW
from transformers import PreTrainedModel
from transformers.activations import NewGELUActivation

from lightning_med.cli.arguments import Parser
from lightning_med.data.batching import collate
from lightning_med.data.module import DialogueDataModule
from lightning_med.model import attention, causal_lm
from lightning_med.model.fast_layers import FastDropout
from lightning_med.training.optimizer import make_adamw
from lightning_med.utils.allocator import keep_freed_memory
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError, check_range
from lightning_med.utils.files import write_text
from lightning_med.utils.precision import has_cpu_bf16

Change = Callable[[PreTrainedModel], Any]  # a context in which the change is taken back


@contextmanager
def _layers(network: PreTrainedModel, old: type, new: Callable[[Any], nn.Module]) -> Iterator[None]:
    """Other layers of one kind in the network's places."""
    kept = [(module, name, child) for module in network.modules() for name, child in module.named_children()]
    kept = [(module, name, child) for module, name, child in kept if type(child) is old]
    for module, name, child in kept:
        setattr(module, name, new(child))
    try:
        yield
    finally:
        for module, name, child in kept:
            setattr(module, name, child)


def _whole_logits(hidden: Tensor, weight: Tensor, targets: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    """The loss as it is usually written: all logits of the answers at once, kept for the backward pass."""
    nll = cross_entropy((hidden @ weight.T).float(), targets, reduction="none")
    return nll.sum(), nll.detach()


CHANGES: dict[str, Change] = {
    "nothing": lambda network: nullcontext(),
    "dropout from 16 random bits": lambda network: _layers(network, FastDropout, lambda old: nn.Dropout(old.p)),
    "GELU in one pass": lambda network: _layers(network, nn.GELU, lambda old: NewGELUActivation()),
    "plain products for attention": lambda network: patch.object(attention, "_is_on_cpu", lambda query: False),
    "gradient of the loss in the logits' memory": lambda network: patch.object(
        causal_lm, "compute_answer_nll", _whole_logits
    ),
    "logits for the answers alone": lambda network: nullcontext(),  # in `_step`
    "flat batches": lambda network: nullcontext(),
    "fused AdamW": lambda network: nullcontext(),
    "bfloat16": lambda network: nullcontext(),
}


def _step(name: str, network: PreTrainedModel, optimizer: AdamW, batch: collate.Batch, padded: collate.Batch) -> None:
    reduced = name != "bfloat16" and has_cpu_bf16()
    with torch.autocast("cpu", torch.bfloat16) if reduced else nullcontext():
        used = padded if name == "flat batches" else batch
        weight = 1.0 if name == "logits for the answers alone" else 0.0
        loss = causal_lm.compute_nll(network, used, weight)[0] / batch["answers"]
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def measured(given: argparse.Namespace, tell: Callable[[str, int, int], None]) -> dict[str, float]:
    """Seconds of a step by what is taken back, medians over the rounds."""
    data = DialogueDataModule(given.data, given.tokenizer, system_prompt="", batch_tokens=given.tokens)
    words, store = data.prepared.tokenizer, data.store("train")
    shape = {"n_layer": given.layers, "n_embd": given.width, "n_head": given.heads, "n_positions": 1024}
    network = causal_lm.build_from_scratch(shape, len(words), words.eos_token_id, 0.0, seed=1)
    optimizers = {fused: make_adamw(network, 5e-4, 0.01) for fused in (True, False)}
    for group in optimizers[False].param_groups:
        group.update(fused=False, foreach=False)
    plan = data.plan_epoch(0)[: given.rounds + 1]
    seconds: dict[str, list[float]] = {name: [] for name in CHANGES}
    for number, rows in enumerate(plan):
        batch = collate.collate_flat(store, rows)
        padded = collate.collate_padded(store, rows, int(store.lengths[rows].max()), 0)
        for place, (name, change) in enumerate(CHANGES.items()):
            tell(f"without {name}", number * len(CHANGES) + place, len(plan) * len(CHANGES))
            with change(network):
                start = time.perf_counter()
                _step(name, network, optimizers[name != "fused AdamW"], batch, padded)
                seconds[name].append(time.perf_counter() - start)
    return {name: median(times[1:] or times) for name, times in seconds.items()}  # the first round warms up


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    parser = Parser("benchmark_changes", "Measure what each change of the training step is worth.")
    parser.add_argument("--data", default="sample", help="consultations (default: the embedded synthetic ones)")
    parser.add_argument("--tokenizer", default="train", help="a folder or name; `train` makes one of 4,096 tokens")
    sizes = {"tokens": 3584, "rounds": 5, "layers": 6, "width": 768, "heads": 12}
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=size, help=f"(default: {size})")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the figures go")
    try:
        given = parser.parse_args(argv)
        for name in sizes:
            check_range(f"--{name}", getattr(given, name), 1)
        keep_freed_memory()
        with show_progress("Changes") as tell:
            found = measured(given, tell)
        known = machine(("torch", "transformers"))
        write_text(given.json, json.dumps({"machine": known, "seconds": found}, indent=2) + "\n")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print("| without | seconds a step | of the whole |\n|---|---|---|")
    for name, value in found.items():
        print(f"| {name} | {value:.2f} | {value / found['nothing']:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
