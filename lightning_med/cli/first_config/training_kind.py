"""How a base is trained on a machine: all weights, or an adapter, by the memory that each takes."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_med.cli.first_config.base_choice import Base
from lightning_med.cli.first_config.data_choice import SAMPLE, Data
from lightning_med.cli.first_config.machine import CPU, Machine

_SMOLLM2 = 134.5e6  # weights of the base with which memory was measured, see docs/adapters.md
_WHOLE = 16  # bytes of a weight that is trained, with its gradient and AdamW's averages
_FROZEN = 4  # bytes of a weight that is not
_BATCH, _CHECKPOINTED = 2.9, 1.2  # GiB that a batch of 2,048 tokens of SmolLM2 takes beside the weights
_SPARE = 1.1  # a tenth on top
_LARGE = 5e8  # weights from which on a base needs lower rates


@dataclass(frozen=True)
class Training:
    """What of a base is trained.

    Attributes:
        lora: An adapter alone.
        checkpointing: Activations are computed twice instead of kept.
        memory: GiB that it takes, estimated from what was measured with SmolLM2; `None` where that is not known.
        fits: Into the machine.
    """

    lora: bool
    checkpointing: bool
    memory: float | None
    fits: bool = True

    @property
    def text(self) -> str:
        """In words."""
        return "an adapter (LoRA)" if self.lora else "all weights"


def choose_training(data: Data, base: Base, machine: Machine) -> Training:
    """Returns the first way that fits: all weights, an adapter, an adapter with checkpointing.

    The embedded consultations share many phrases: an adapter learns them as well as all weights do. Of a base whose
    size is not known an adapter is trained.
    """
    if base.name is None:
        return Training(False, False, None)
    if base.weights is None:
        return Training(True, False, None)
    ways = [
        Training(lora, checkpointing, estimate_memory(base.weights, lora, checkpointing, machine.kind == CPU))
        for lora, checkpointing in ((False, False), (True, False), (True, True))
    ]
    if data.source == SAMPLE:
        ways = ways[1:]
    fitting = [way for way in ways if way.memory is not None and way.memory <= machine.memory]
    return fitting[0] if fitting else Training(True, True, ways[-1].memory, fits=False)


def estimate_memory(weights: float, lora: bool, checkpointing: bool, on_cpu: bool) -> float:
    """Returns the GiB that training takes.

    Args:
        weights: Their number.
        lora, checkpointing: As in `Training`.
        on_cpu: With batches of 2,048 tokens; on a GPU a batch is fitted to what the weights leave, a quarter at least.
    """
    fixed = weights * (_FROZEN if lora else _WHOLE) / 2**30
    if not on_cpu:
        return fixed * (1.2 if checkpointing else 4 / 3)
    return (fixed + (_CHECKPOINTED if checkpointing else _BATCH) * max(weights / _SMOLLM2, 0.5)) * _SPARE


def choose_rate(base: Base, lora: bool) -> float:
    """Returns a learning rate: see docs/quality.md for what those of small bases rest on."""
    if base.name is None:
        return 2e-3
    is_large = (base.weights or 0) >= _LARGE
    if lora:
        return 2e-4 if is_large else 1e-3
    return 5e-4 if base.is_gpt2 and not is_large else 2e-5 if is_large else 1e-4
