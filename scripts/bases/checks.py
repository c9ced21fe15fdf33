"""Comparisons of one base with transformers: loss, gradients, generation and export."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, PreTrainedModel

from bases.families import CONTEXT, WINDOW, Family
from lightning_med.model.causal_lm import build_from_text, compute_nll, describe_network, load_base
from lightning_med.model.execution import choose_execution, use_native_attention
from lightning_med.utils.errors import InputError

VOCABULARY = 320
LENGTHS = (3 * WINDOW, 11, 2 * WINDOW + 5, 2)  # tokens of the rows; some are longer than any window
BOUNDS = {"loss": 1e-5, "gradients": 1e-5, "bf16 loss": 1.5, "bf16 gradients": 1.5, "export": 1e-5}
_NEW_TOKENS = 12
_BATCHES = 16  # on which losses and gradients are compared
_FLOORS = (1e-4, 1e-12)  # of the reference's bfloat16 errors, of loss and gradients, that ours are divided by

Result = tuple[Tensor, Tensor]  # mean loss, and all gradients as one vector


@dataclass
class Outcome:
    """What was found for one base.

    Attributes:
        family: The base.
        execution: `flat`, `padded` or `refused`.
        message: Why it is padded or refused.
        differences: By name of `BOUNDS`.
        generates_alike: Whether generation with a cache gives the tokens of generation without.
        faults: What is wrong; empty if nothing.
    """

    family: Family
    execution: str
    message: str = ""
    differences: dict[str, float] = field(default_factory=dict)
    generates_alike: bool = False
    faults: list[str] = field(default_factory=list)


def check_family(family: Family, folder: Path) -> Outcome:
    """Makes a base and compares everything that a fine-tuning run does with it.

    Args:
        family: The base.
        folder: Empty; it is written to.
    """
    base = folder / "base"
    family.save(base, VOCABULARY)
    try:
        network = load_base(str(base), 0.0)
        execution = choose_execution(network, max(LENGTHS))
    except InputError as error:
        outcome = Outcome(family, "refused", error.what.replace(str(base), "BASE"))
        if not error.hint:
            outcome.faults.append("no hint")
    else:
        outcome = Outcome(family, "flat" if execution.flat else "padded", execution.reason)
        network.eval()  # without dropout
        reference = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
        _compare_losses(network, reference, outcome)
        outcome.generates_alike = _generates_alike(network)
        if not outcome.generates_alike:
            outcome.faults.append("generation with a cache differs")
        outcome.differences["export"] = _compare_export(network, folder / "export")
        for name, bound in BOUNDS.items():
            if not outcome.differences[name] <= bound:
                outcome.faults.append(f"{name} {outcome.differences[name]:.1e}")
    if outcome.execution != family.expected:
        outcome.faults.append(f"expected {family.expected}")
    return outcome


def _make_batch(seed: int = 0) -> dict[str, Any]:
    """Returns a flat batch of random rows; the second half of each is its answer."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(1, VOCABULARY, (length,), generator=generator) for length in LENGTHS]
    ends = torch.tensor(LENGTHS).cumsum(0)
    starts = ends - torch.tensor(LENGTHS)
    places = [torch.arange(length // 2, length) + start for length, start in zip(LENGTHS, starts.tolist(), strict=True)]
    ids, answered = torch.cat(rows), torch.cat(places)
    return {
        "rows": rows,
        "input_ids": ids[None],
        "position_ids": torch.cat([torch.arange(length) for length in LENGTHS])[None],
        "boundaries": [0, *ends.tolist()],
        "offsets": torch.tensor([0, *ends.tolist()], dtype=torch.int32),
        "predict_at": answered - 1,
        "targets": ids[answered],
        "answers": len(answered),
    }


def _compute_reference_loss(network: PreTrainedModel, batch: dict[str, Any]) -> Tensor:
    """Pads the rows to the longest, computes all logits, and takes the mean cross-entropy of the answers."""
    ids = torch.nn.utils.rnn.pad_sequence(batch["rows"], batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in batch["rows"]], batch_first=True)
    labels = torch.full_like(ids, -100)
    for line, row in enumerate(batch["rows"]):
        labels[line, len(row) // 2 : len(row)] = row[len(row) // 2 :]
    logits = network(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())


def _compute_gradients(network: PreTrainedModel, batch: dict[str, Any], ours: bool, bf16: bool) -> Result:
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext():
        loss = compute_nll(network, batch)[0] / batch["answers"] if ours else _compute_reference_loss(network, batch)
    loss.backward()
    gradients = [
        torch.zeros_like(weight) if weight.grad is None else weight.grad
        for _, weight in sorted(network.named_parameters())
    ]
    return loss.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def _compare_losses(network: PreTrainedModel, reference: PreTrainedModel, outcome: Outcome) -> None:
    """Compares loss and gradients; of bfloat16 the mean errors, as a single one may be small by chance."""
    ours, bf16 = [], []
    for seed in range(_BATCHES):
        batch = _make_batch(seed)
        exact = _compute_gradients(reference, batch, ours=False, bf16=False)
        ours.append(_measure_errors(_compute_gradients(network, batch, ours=True, bf16=False), exact))
        theirs = _compute_gradients(reference, batch, ours=False, bf16=True)
        both = (_compute_gradients(network, batch, ours=True, bf16=True), theirs)
        bf16.append([_measure_errors(result, exact) for result in both])
    outcome.differences |= dict(zip(("loss", "gradients"), np.max(ours, axis=0).tolist(), strict=True))
    own_errors, their_errors = np.mean(bf16, axis=0)
    ratios = own_errors / np.maximum(their_errors, _FLOORS)
    outcome.differences |= dict(zip(("bf16 loss", "bf16 gradients"), ratios.tolist(), strict=True))


def _measure_errors(result: Result, exact: Result) -> list[float]:
    """Returns the relative errors of the loss and of the gradients."""
    return [float((ours - theirs).norm() / theirs.norm()) for ours, theirs in zip(result, exact, strict=True)]


def _generates_alike(network: PreTrainedModel) -> bool:
    """Whether a batch that is padded on the left gives the same tokens with a cache as each row without one."""
    prompts = _make_batch()["rows"][:3]
    width = max(map(len, prompts))
    ids = torch.stack([torch.cat([row.new_zeros(width - len(row)), row]) for row in prompts])
    mask = torch.stack([torch.cat([row.new_zeros(width - len(row)), torch.ones_like(row)]) for row in prompts])
    options: dict[str, Any] = {
        "max_new_tokens": _NEW_TOKENS,
        "do_sample": False,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    with use_native_attention(network), torch.inference_mode():
        together = network.generate(ids, attention_mask=mask, **options)[:, width:]  # type: ignore[operator]
        alone = [
            network.generate(row[None], use_cache=False, **options)[0, len(row) :]  # type: ignore[operator]
            for row in prompts
        ]
    return torch.equal(together, torch.stack(alone))


def _compare_export(network: PreTrainedModel, folder: Path) -> float:
    """Returns how far the logits of an exported folder are from the network's own, relative to their norm."""
    exported = build_from_text(describe_network(network))
    exported.load_state_dict(network.state_dict())
    exported.save_pretrained(folder)
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    row = _make_batch()["rows"][0][None, :CONTEXT]
    with use_native_attention(network), torch.no_grad():
        ours, theirs = network(input_ids=row).logits, loaded(input_ids=row).logits
    return float((ours - theirs).norm() / theirs.norm())
