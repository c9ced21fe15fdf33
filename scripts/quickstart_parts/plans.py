"""What the quickstart trains, by the memory that is free."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_med.utils.free_memory import measure_address_room, measure_host_memory

CONFIG, SMALL_CONFIG = "configs/quickstart.yaml", "configs/quickstart_small.yaml"
_GIB = 2**30
_ADAPTER = (
    *("--model.lora", "{r: 16, alpha: 32}", "--model.base_dtype", "bf16"),
    *("--model.gradient_checkpointing", "true", "--model.lr", "1e-3"),
)


@dataclass(frozen=True)
class Plan:
    """A way to train.

    Args:
        title: For the messages.
        config: Of the fit.
        options: Changes of its settings.
        memory: GiB of the largest process, with a tenth on top.
        address_space: GiB of its address space, which `ulimit -v` limits, with a tenth on top.
    """

    title: str
    config: str
    options: tuple[str, ...]
    memory: float
    address_space: float


PLANS = (  # the best first; the last one is tried however little memory there is
    Plan("SmolLM2", CONFIG, (), 6.0, 8.2),  # measured on two cores
    Plan("an adapter of SmolLM2", CONFIG, _ADAPTER, 3.2, 5.5),  # estimated
    Plan("a small model from scratch", SMALL_CONFIG, (), 1.0, 3.5),
)


def choose_plans() -> tuple[tuple[Plan, ...], str]:
    """Returns the plans that fit into the free memory, and how much is free; the last plan is always among them."""
    memory, space = measure_host_memory() / _GIB, measure_address_room() / _GIB
    fitting = tuple(plan for plan in PLANS[:-1] if plan.memory <= memory and plan.address_space <= space)
    free = f"{memory:.1f} GiB of memory are free"
    if space < min(plan.address_space for plan in PLANS[:-1]):
        free = f"the address space is limited to {space:.1f} GiB"
    return (*fitting, PLANS[-1]), free
