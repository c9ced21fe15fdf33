"""What the quickstart trains, by the memory that is free."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_med.utils.free_memory import measure_address_room, measure_host_memory

CONFIG, SMALL_CONFIG = "configs/quickstart.yaml", "configs/quickstart_small.yaml"
_GIB = 2**30
_HALF_BATCHES = ("--data.batch_tokens", "1024", "--trainer.val_check_interval", "90")  # two batches are a step
_LORA = ("--model.lora", "{r: 16, alpha: 32}", "--model.lr", "1e-3")


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


# Memory is measured on two cores; SmolLM2's address space is estimated as 2 GiB more.
FULL = Plan("SmolLM2", CONFIG, _HALF_BATCHES, 4.3, 6.5)
ADAPTER = Plan("an adapter of SmolLM2", CONFIG, _LORA, 3.5, 5.8)
LEAN_ADAPTER = Plan(
    "an adapter of SmolLM2 with gradient checkpointing",
    CONFIG,
    (*_LORA, "--model.gradient_checkpointing", "true"),
    1.9,
    4.1,
)
SMALL = Plan("a small model from scratch", SMALL_CONFIG, (), 1.0, 3.5)
# The best first, each with less memory than the one before; the last one is tried however little there is.
PLANS = (FULL, ADAPTER, LEAN_ADAPTER, SMALL)


def choose_plans() -> tuple[tuple[Plan, ...], str]:
    """Returns the plans that fit into the free memory, and how much is free; the last plan is always among them."""
    memory, space = measure_host_memory() / _GIB, measure_address_room() / _GIB
    fitting = tuple(plan for plan in PLANS[:-1] if plan.memory <= memory and plan.address_space <= space)
    free = f"{memory:.1f} GiB of memory are free"
    if space < PLANS[0].address_space:
        free = f"the address space is limited to {space:.1f} GiB"
    return (*fitting, PLANS[-1]), free
