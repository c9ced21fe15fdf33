"""Whether the fast way computes what the plain way computes, at the full shape of distilgpt2.

    python scripts/check_exactness.py --data FILE.csv --tokenizer GPT2_FOLDER --json exact.json

The plain way is transformers' own: rows padded to the longest, all logits, torch's cross-entropy on the answers.
Checked, dropout off: loss and gradients in float32 (relative 1e-5); in bfloat16, each way compared with float32, that
ours strays no further than the plain way does and half of that; and the loss after some optimizer steps from the same
weights over the same batches (relative 1e-4). The exit status is 1 where one of them fails.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, PreTrainedModel

from lightning_med.cli.arguments import Parser
from lightning_med.data.batching import batch_plan, collate
from lightning_med.data.module import DialogueDataModule
from lightning_med.model.causal_lm import build_from_scratch, compute_nll
from lightning_med.training.optimizer import make_adamw
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError, check_range
from lightning_med.utils.files import write_text

ROWS = 4  # consultations a batch
BOUNDS = {"loss": 1e-5, "gradients": 1e-5, "bf16_loss": 1.5, "bf16_gradients": 1.5, "after_steps": 1e-4}

Way = tuple[Tensor, Tensor]  # the mean loss, and all gradients in one


def plain_nll(network: PreTrainedModel, data: DialogueDataModule, batch: collate.Batch) -> Tensor:
    """The sum over the answers' tokens: a padded forward with all logits."""
    store, rows = data.store("train"), np.array(batch["rows"])
    padded = collate.collate_padded(store, rows, int(max(store.lengths[rows])), 0)
    logits = network(padded["input_ids"], attention_mask=padded["attention_mask"], use_cache=False).logits
    labels = torch.full(padded["input_ids"].shape, -100).flatten()
    answers = padded["answers"]
    labels[padded["predict_at"][:answers]] = padded["targets"][:answers]
    return cross_entropy(logits.flatten(0, 1).float(), labels, reduction="sum")


def graded(network: PreTrainedModel, nll: Any, batch: collate.Batch, reduced: bool) -> Way:
    """Loss and gradients of one way, in bfloat16 where `reduced`."""
    network.zero_grad()
    context = torch.autocast("cpu", torch.bfloat16) if reduced else contextlib.nullcontext()
    with context:
        loss = nll(network, batch) / batch["answers"]
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def apart(one: Way, other: Way) -> tuple[float, float]:
    """Relative differences of losses and of gradients (L2)."""
    return float((one[0] / other[0] - 1).abs()), float((one[1] - other[1]).norm() / other[1].norm())


def measured(data: DialogueDataModule, ours: PreTrainedModel, steps: int, tell: Any) -> dict[str, float]:
    """The largest differences over three batches, and that after the steps."""
    store = data.store("train")
    order = batch_plan.shuffle_rows(len(store), data.seed, 0)
    batches = [collate.collate_flat(store, order[i : i + ROWS]) for i in range(0, (steps + 1) * ROWS, ROWS)]
    # A copy: the way of attention is written into the configuration that it is given.
    plain = AutoModelForCausalLM.from_config(copy.deepcopy(ours.config), attn_implementation="eager")
    plain.load_state_dict(ours.state_dict())
    plain.train()

    def fast(network: PreTrainedModel, batch: collate.Batch) -> Tensor:
        return compute_nll(network, batch)[0]

    def usual(network: PreTrainedModel, batch: collate.Batch) -> Tensor:
        return plain_nll(network, data, batch)

    found = dict.fromkeys(BOUNDS, 0.0)
    for number, batch in enumerate(batches[:3]):
        tell("gradients", number, 3)
        exact = graded(plain, usual, batch, False)
        own = apart(graded(ours, fast, batch, False), exact)
        strays = apart(graded(ours, fast, batch, True), exact), apart(graded(plain, usual, batch, True), exact)
        for name, value in zip(("loss", "gradients"), own, strict=True):
            found[name] = max(found[name], value)
        for name, mine, theirs in zip(("bf16_loss", "bf16_gradients"), *strays, strict=True):
            found[name] = max(found[name], mine / max(theirs, 1e-4 if name == "bf16_loss" else 1e-12))
    optimizers = [make_adamw(network, 5e-4, 0.01) for network in (ours, plain)]
    for number, batch in enumerate(batches[1:]):
        tell("optimizer steps", number, steps)
        losses = []
        for network, nll, optimizer in zip((ours, plain), (fast, usual), optimizers, strict=True):
            losses.append(graded(network, nll, batch, False)[0])
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        found["after_steps"] = float((losses[0] / losses[1] - 1).abs())
    return found


def arguments(argv: list[str]) -> argparse.Namespace:
    """The options, checked."""
    parser = Parser("check_exactness", "Compare the fast way with transformers' own, at distilgpt2's shape.")
    parser.add_argument("--data", default="sample", help="consultations (default: the embedded synthetic ones)")
    parser.add_argument("--tokenizer", default="train", help="a folder or name; `train` makes one of 4,096 tokens")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--steps", type=int, default=50, help="optimizer steps (default: 50)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what is measured there, too")
    given = parser.parse_args(argv)
    for name in ("layers", "width", "heads", "steps"):
        check_range(f"--{name}", getattr(given, name), 1)
    return given


def main(argv: list[str]) -> int:
    """Returns the exit status: 1 where a difference is out of bounds, 2 for wrong input."""
    try:
        given = arguments(argv)
        with show_progress("Comparing") as tell:
            data = DialogueDataModule(given.data, given.tokenizer, system_prompt="")
            tokens, end = len(data.prepared.tokenizer), data.prepared.tokenizer.eos_token_id
            shape = {"n_layer": given.layers, "n_embd": given.width, "n_head": given.heads}
            still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0}
            found = measured(data, build_from_scratch(shape | still, tokens, end, 0.0, seed=1), given.steps, tell)
        if given.json:
            write_text(given.json, json.dumps(found, indent=2) + "\n")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    for name, value in found.items():
        say(f"{name:<15} {value:.2e}  bound {BOUNDS[name]:g}  {'ok' if value <= BOUNDS[name] else 'OUT OF BOUNDS'}")
    return int(any(value > BOUNDS[name] for name, value in found.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
