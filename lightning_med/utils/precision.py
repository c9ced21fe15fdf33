"""The precision that this machine can run in."""

from __future__ import annotations

from typing import Any

import torch

from lightning_med.utils.console import say


def choose_precision(wanted: Any, accelerator: str) -> Any:
    """Replaces `16-mixed` on a machine without a GPU by the CPU's best precision, and says so; others are returned.

    Args:
        wanted: The precision given to the trainer.
        accelerator: The accelerator given to the trainer; `auto` takes a GPU if there is one.
    """
    best = find_precision(wanted, accelerator)
    if best != wanted:
        say(f"precision: {wanted} needs a GPU; this processor runs in {best}.")
    return best


def find_precision(wanted: Any, accelerator: str) -> Any:
    """Does the same as `choose_precision`, and says nothing."""
    if str(wanted) not in ("16-mixed", "16") or not runs_on_cpu(accelerator):
        return wanted
    return "bf16-mixed" if has_cpu_bf16() else "32-true"


def runs_on_cpu(accelerator: str) -> bool:
    """Returns whether a trainer's accelerator is the CPU; `auto` takes a GPU if there is one."""
    return accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())


def has_cpu_bf16() -> bool:
    """Returns whether the CPU multiplies bfloat16 matrices in hardware; one that does not is faster in float32."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)
