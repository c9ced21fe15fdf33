"""The machine of a first config: what this one has."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_med.utils.errors import InputError

GPU, CPU, CLUSTER = "gpu", "cpu", "cluster"
_OTHER_GPU = 16.0  # GiB that are assumed of a GPU that is not here
_CLUSTER_GPU = 40.0  # and of each one of a cluster
_WORDS = {"gpu": GPU, "one gpu": GPU, "cpu": CPU, "this cpu": CPU, "cluster": CLUSTER}


@dataclass(frozen=True)
class Machine:
    """Where the fit will run.

    Attributes:
        kind: `gpu`, `cpu` or `cluster`.
        memory: GiB, of the GPU or free ones of the machine.
        text: What it is, in words.
    """

    kind: str
    memory: float
    text: str


def measure_machine() -> dict[str, Machine]:
    """Returns the machines that a config can be for, by kind; the first is this one."""
    import torch

    from lightning_med.data.preparation.worker_pool import count_cores
    from lightning_med.utils.memory.free_memory import measure_host_memory

    free = measure_host_memory() / 2**30
    cpu = Machine(CPU, free, f"this CPU, {count_cores()} cores, {free:.1f} GiB of memory free")
    gpu = Machine(GPU, _OTHER_GPU, f"one GPU, none is here: {_OTHER_GPU:.0f} GiB are assumed")
    cluster = Machine(CLUSTER, _CLUSTER_GPU, f"several GPUs, {_CLUSTER_GPU:.0f} GiB each are assumed")
    if not torch.accelerator.is_available():
        return {CPU: cpu, GPU: gpu, CLUSTER: cluster}
    memory, name = free, str(torch.accelerator.current_accelerator())
    if torch.cuda.is_available():
        memory, name = torch.cuda.get_device_properties(0).total_memory / 2**30, torch.cuda.get_device_name(0)
    return {GPU: Machine(GPU, memory, f"one GPU, {name}, {memory:.1f} GiB"), CPU: cpu, CLUSTER: cluster}


def read_machine(machines: dict[str, Machine], answer: str) -> Machine:
    """Returns the machine that an answer names.

    Raises:
        InputError: It names none.
    """
    kind = _WORDS.get(" ".join(answer.lower().split()))
    if kind is None:
        raise InputError(f"{answer} is no machine.", f"It takes {GPU} (one), {CPU} (this one) or {CLUSTER}.")
    return machines[kind]
