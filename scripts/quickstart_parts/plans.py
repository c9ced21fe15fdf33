"""What the quickstart trains, by the memory that is free."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_med.utils.memory.free_memory import measure_address_room, measure_host_memory

CONFIG, SMALL_CONFIG = "configs/quickstart.yaml", "configs/quickstart_small.yaml"
_GIB = 2**30


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


# An adapter, not all weights: full tuning answers little better, and the whole quickstart then peaks at 5.8 GiB.
# Memory is measured on two cores; the address space is estimated as 2 GiB more.
ADAPTER = Plan("SmolLM2", CONFIG, (), 3.8, 6.2)
LEAN_ADAPTER = Plan("SmolLM2 with gradient checkpointing", CONFIG, ("--model.gradient_checkpointing", "true"), 1.9, 4.1)
SMALL = Plan("a small model from scratch", SMALL_CONFIG, (), 1.0, 3.5)
# The best first, each with less memory than the one before; the last one is tried however little there is.
PLANS = (ADAPTER, LEAN_ADAPTER, SMALL)


def choose_plans() -> tuple[tuple[Plan, ...], str]:
    """Returns the plans that fit into the free memory, and how much is free; the last plan is always among them."""
    memory, space = measure_host_memory() / _GIB, measure_address_room() / _GIB
    fitting = tuple(plan for plan in PLANS[:-1] if plan.memory <= memory and plan.address_space <= space)
    free = f"{memory:.1f} GiB of memory are free"
    if space < PLANS[0].address_space:
        free = f"the address space is limited to {space:.1f} GiB"
    return (*fitting, PLANS[-1]), free
