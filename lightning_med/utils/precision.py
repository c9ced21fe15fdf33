"""The precision that a machine can run in."""

from __future__ import annotations

from typing import Any

import torch

from lightning_med.utils.console import say


def choose_precision(wanted: Any, accelerator: str) -> Any:
    """`16-mixed` where the machine has it; without a GPU the best that the processor has, and a line that says so.

    Args:
        wanted: As given to the trainer.
        accelerator: As given to the trainer; `auto` takes a GPU if there is one.
    """
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
    if str(wanted) not in ("16-mixed", "16") or not on_cpu:
        return wanted
    best = "bf16-mixed" if has_cpu_bf16() else "32-true"
    say(f"precision: {wanted} needs a GPU; this processor runs in {best}.")
    return best


def has_cpu_bf16() -> bool:
    """Whether the processor multiplies bfloat16 matrices itself; one that does not is faster in float32."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)
