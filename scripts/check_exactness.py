"""Checks that the fast loss equals that of plain transformers code, at the full size of distilgpt2.

    python scripts/check_exactness.py --data FILE.csv --tokenizer GPT2_FOLDER --json exact.json

The reference pads rows to the longest, computes all logits and takes torch's cross-entropy of the answers. Dropout is
off. Checked are: loss and gradients in float32 (relative difference at most 1e-5); in bfloat16, that ours differs from
float32 by at most 1.5 times as much as the reference does; and the loss after some optimizer steps from the same
weights on the same batches (1e-4). The exit status is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, PreTrainedModel

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.data.batching import batch_plan, collate
from lightning_med.data.module import DialogueDataModule
from lightning_med.model.causal_lm import build_from_scratch, compute_nll
from lightning_med.training.optimization.optimizer import make_adamw
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError, check_range
from lightning_med.utils.files import write_text

ROWS = 4  # consultations per batch
GRADIENT_BATCHES = 3  # batches on which loss and gradients are compared
BOUNDS = {"loss": 1e-5, "gradients": 1e-5, "bf16_loss": 1.5, "bf16_gradients": 1.5, "after_steps": 1e-4}

Loss = Callable[[PreTrainedModel, collate.Batch], Tensor]  # sum over the answer tokens of a batch, in nats
Result = tuple[Tensor, Tensor]  # mean loss, and all gradients as one vector


def compute_reference_nll(network: PreTrainedModel, data: DialogueDataModule, batch: collate.Batch) -> Tensor:
    """Computes the loss of the answer tokens by a padded forward pass with all logits."""
    store, rows = data.store("train"), np.array(batch["rows"])
    padded = collate.collate_padded(store, rows, int(max(store.lengths[rows])), 0)
    logits = network(padded["input_ids"], attention_mask=padded["attention_mask"], use_cache=False).logits
    labels = torch.full(padded["input_ids"].shape, -100).flatten()
    answers = padded["answers"]
    labels[padded["predict_at"][:answers]] = padded["targets"][:answers]
    return cross_entropy(logits.flatten(0, 1).float(), labels, reduction="sum")


def compute_gradients(network: PreTrainedModel, nll: Loss, batch: collate.Batch, bf16: bool) -> Result:
    """Computes mean loss and gradients of a batch, under bfloat16 autocast if `bf16`."""
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext():
        loss = nll(network, batch) / batch["answers"]
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def compute_differences(result: Result, expected: Result) -> tuple[float, float]:
    """Returns the relative differences of the losses and of the gradients (L2 norm)."""
    loss = float((result[0] / expected[0] - 1).abs())
    return loss, float((result[1] - expected[1]).norm() / expected[1].norm())


class Comparison:
    """Our network and a reference network of plain transformers code with the same weights.

    Args:
        data: Supplies the batches.
        network: Ours; dropout must be off.
        steps: Optimizer steps.
        progress: Shows the progress; see `show_progress`.

    Attributes:
        differences: The largest difference found, for each key of `BOUNDS`.
    """

    def __init__(
        self, data: DialogueDataModule, network: PreTrainedModel, steps: int, progress: Callable[[str, int, int], None]
    ) -> None:
        self.network, self.steps, self.progress = network, steps, progress
        self.differences = dict.fromkeys(BOUNDS, 0.0)
        store = data.store("train")
        order = batch_plan.shuffle_rows(len(store), data.seed, 0)
        self.batches = [collate.collate_flat(store, order[i : i + ROWS]) for i in range(0, (steps + 1) * ROWS, ROWS)]
        # A copy, as `from_config` writes the attention implementation into the configuration that it is given.
        config = copy.deepcopy(network.config)
        self.reference = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        self.reference.load_state_dict(network.state_dict())
        self.reference.train()
        self.nll: Loss = lambda network, batch: compute_nll(network, batch)[0]
        self.reference_nll: Loss = lambda network, batch: compute_reference_nll(network, data, batch)

    def compare_gradients(self) -> None:
        """Compares losses and gradients on a few batches, in float32 and in bfloat16."""
        for number, batch in enumerate(self.batches[:GRADIENT_BATCHES]):
            self.progress("gradients", number, GRADIENT_BATCHES)
            exact = compute_gradients(self.reference, self.reference_nll, batch, False)
            ours = compute_differences(compute_gradients(self.network, self.nll, batch, False), exact)
            ours_bf16 = compute_differences(compute_gradients(self.network, self.nll, batch, True), exact)
            theirs_bf16 = compute_differences(compute_gradients(self.reference, self.reference_nll, batch, True), exact)
            for name, ours_value, theirs_value, floor in zip(
                ("loss", "gradients"), ours_bf16, theirs_bf16, (1e-4, 1e-12), strict=True
            ):
                self._keep_largest(f"bf16_{name}", ours_value / max(theirs_value, floor))
            for name, value in zip(("loss", "gradients"), ours, strict=True):
                self._keep_largest(name, value)

    def compare_training(self) -> None:
        """Trains both networks on the same batches and compares the last losses."""
        networks = (self.network, self.reference)
        optimizers = [make_adamw(network, 5e-4, 0.01) for network in networks]
        for number, batch in enumerate(self.batches[1:]):
            self.progress("optimizer steps", number, self.steps)
            losses = []
            for network, nll, optimizer in zip(networks, (self.nll, self.reference_nll), optimizers, strict=True):
                losses.append(compute_gradients(network, nll, batch, False)[0])
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
            self.differences["after_steps"] = float((losses[0] / losses[1] - 1).abs())

    def _keep_largest(self, name: str, value: float) -> None:
        self.differences[name] = max(self.differences[name], value)


def parse_options(argv: list[str]) -> argparse.Namespace:
    """Parses and checks the options."""
    parser = Parser("check_exactness", "Compare our loss with that of plain transformers code, at distilgpt2's size.")
    parser.add_argument("--data", default="sample", help="consultations (default: the embedded synthetic ones)")
    parser.add_argument("--tokenizer", default="train", help="a folder or name; `train` trains one of 4,096 tokens")
    parser.add_argument("--layers", type=int, default=6, help="layers of the network (default: 6)")
    parser.add_argument("--width", type=int, default=768, help="width of the network (default: 768)")
    parser.add_argument("--heads", type=int, default=12, help="attention heads of the network (default: 12)")
    parser.add_argument("--steps", type=int, default=50, help="optimizer steps (default: 50)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the differences")
    options = parser.parse_args(argv)
    for name in ("layers", "width", "heads", "steps"):
        check_range(f"--{name}", getattr(options, name), 1)
    return options


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 1 if a difference is out of bounds, 2 for wrong input."""
    try:
        options = parse_options(argv)
        with show_progress("Comparing") as progress:
            data = DialogueDataModule(options.data, options.tokenizer, system_prompt="")
            tokenizer = data.prepared.tokenizer
            shape = {"n_layer": options.layers, "n_embd": options.width, "n_head": options.heads}
            fields = {**shape, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
            network = build_from_scratch(fields, len(tokenizer), tokenizer.eos_token_id, 0.0, seed=1)
            comparison = Comparison(data, network, options.steps, progress)
            comparison.compare_gradients()
            comparison.compare_training()
        differences = comparison.differences
        if options.json:
            write_text(options.json, json.dumps(differences, indent=2) + "\n")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    for name, value in differences.items():
        say(f"{name:<15} {value:.2e}  bound {BOUNDS[name]:g}  {'ok' if value <= BOUNDS[name] else 'OUT OF BOUNDS'}")
    return int(any(value > BOUNDS[name] for name, value in differences.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
