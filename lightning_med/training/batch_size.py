"""Tokens that fit into a batch on this machine, measured once on the network."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lightning_med.model.causal_lm import compute_nll
from lightning_med.model.execution import get_context_length
from lightning_med.model.loss import CHUNK

CPU, CUDA = "cpu", "cuda"
SHARE = {CPU: 0.25, CUDA: 0.8}  # of the free memory; a CPU's is shared with everything else that runs there
MOST = {CPU: 16_384, CUDA: 65_536}  # tokens; beyond them a batch gets no faster
MULTIPLE = 512
MOMENTS = 8  # bytes per weight of AdamW's two averages, which do not exist yet when this is measured
_GRADIENT = 4
_PASSING = 1.25  # on a CPU: peak memory of a pass over what it keeps; measured on GPT-2's shape


@dataclass(frozen=True)
class BatchBudget:
    """The measured size of a batch, and what it follows from.

    Attributes:
        tokens: That fit into a batch.
        per_token: Bytes that a step needs for each token.
        free: Bytes that were free.
    """

    tokens: int
    per_token: float
    free: int

    def __str__(self) -> str:
        memory = f"{self.per_token / 2**20:.2f} MiB a token, {self.free / 2**30:.1f} GiB free"
        return f"{self.tokens:,} tokens fit in a batch ({memory})"


def measure_budget(
    network: PreTrainedModel, device: torch.device, context: Callable[[], AbstractContextManager[Any]], max_length: int
) -> BatchBudget:
    """Measures how many tokens a training batch may hold in a share of the free memory; evaluation needs less.

    Args:
        network: With its weights on `device`, which count as used. Its weights, gradients, mode and the random stream
            are left as they are.
        device: Of the training. On CUDA the allocator reports the peak of a step. Elsewhere the tensors kept for the
            backward pass are counted and compared with the free memory of the machine or its container.
        context: Makes the precision's context, around each forward pass.
        max_length: Tokens of the longest consultation; the probe consists of such, the most expensive ones.

    Returns:
        A multiple of 512 tokens, at most 16,384 (65,536 on CUDA), but never less than `max_length`.
    """
    kind = CUDA if device.type == CUDA else CPU
    free = measure_free_memory(device)  # before the probe, whose memory the process keeps for the steps to come
    try:
        fixed, per_token = measure_step(network, device, context, max_length)
    except torch.cuda.OutOfMemoryError:
        fixed, per_token = 0, math.inf
    room = SHARE[kind] * (free - fixed - MOMENTS * _count_weights(network))
    tokens = min(int(room / per_token), MOST[kind]) // MULTIPLE * MULTIPLE
    return BatchBudget(max(tokens, max_length), per_token, free)


def measure_free_memory(device: torch.device) -> int:
    """Returns the bytes that this process may still take: of the GPU, or of the machine or its container."""
    if device.type == CUDA:
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + kept)
    return int(min(_read_available(), _read_container_room()))


def _read_available() -> int:
    try:  # sysconf's SC_AVPHYS_PAGES leaves out the page cache, which the kernel gives back
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # Windows
        return 4 << 30


def _read_container_room(root: Path = Path("/sys/fs/cgroup")) -> float:
    """Returns the bytes that the control group's limit leaves; infinity where it sets none.

    The file cache counts as free, because the kernel gives it back.
    """
    for limit, usage, statistics, cache in _CONTROL_GROUPS:
        try:
            room = int((root / limit).read_text()) - int((root / usage).read_text())
            fields = dict(line.split() for line in (root / statistics).read_text().splitlines())
            return max(room + int(fields.get(cache, 0)), 0)
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return math.inf


_CONTROL_GROUPS = (  # versions 2 and 1: limit, usage, statistics, and the statistic that the kernel gives back
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def measure_step(
    network: PreTrainedModel, device: torch.device, context: Callable[[], AbstractContextManager[Any]], max_length: int
) -> tuple[float, float]:
    """Measures the bytes of a step beside weights and optimizer: those of every batch, and those of each token.

    A network is measured once; for the arguments see `measure_budget`.
    """
    if network not in _measured:
        _measured[network] = _run_probe(network, device, context, max_length)
    return _measured[network]


_measured: WeakKeyDictionary[PreTrainedModel, tuple[float, float]] = WeakKeyDictionary()


def _run_probe(
    network: PreTrainedModel, device: torch.device, context: Callable[[], AbstractContextManager[Any]], max_length: int
) -> tuple[float, float]:
    length = min(max_length, get_context_length(network))
    # On CUDA more than one chunk of logits: from there on they take the same memory, whatever a batch holds.
    rows = max(-(-CHUNK // length), 1) if device.type == CUDA else 1
    training, devices = network.training, [device] if device.type == CUDA else []
    network.train()
    # Evaluation asks from inside inference mode.
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices):
        few, many = (_make_full_batch(count, length, device) for count in (rows, 2 * rows))
        if device.type == CUDA:
            _measure_peak(network, few, context, device)  # the first call also allocates the libraries' workspaces
            less, more = (_measure_peak(network, batch, context, device) for batch in (few, many))
        else:
            logits = CHUNK * network.get_output_embeddings().weight.shape[0] * 4
            others = logits + _GRADIENT * _count_weights(network)
            less, more = (others + _PASSING * _count_kept(network, batch, context) for batch in (few, many))
    network.train(training)
    per_token = max(more - less, 1) / (rows * length)
    return max(less - rows * length * per_token, 0.0), per_token


def _measure_peak(
    network: PreTrainedModel, batch: dict[str, Any], context: Callable[[], AbstractContextManager[Any]], device: Any
) -> int:
    """Returns the peak bytes of a forward and a backward pass, gradients included."""
    total = None
    try:
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        with context():
            total = compute_nll(network, batch)[0]
        total.backward()
        return torch.cuda.max_memory_allocated(device) - before
    finally:
        total = None
        network.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _count_kept(
    network: PreTrainedModel, batch: dict[str, Any], context: Callable[[], AbstractContextManager[Any]]
) -> int:
    """Returns the bytes that a forward pass keeps for the backward pass."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), context():
        total = compute_nll(network, batch)[0]  # kept alive, so that no storage is reused and counted only once
    del total
    return sum(sizes.values())


def _make_full_batch(rows: int, length: int, device: torch.device) -> dict[str, Any]:
    """Returns a flat batch of consultations of the greatest length, all of it answer."""
    places = torch.arange(rows * length, device=device)
    position = places % length
    predict_at = places[position < length - 1]
    return {
        "input_ids": torch.zeros_like(places)[None],
        "position_ids": position[None],
        "boundaries": list(range(0, rows * length + 1, length)),
        "offsets": torch.arange(0, rows * length + 1, length, dtype=torch.int32, device=device),
        "predict_at": predict_at,
        "targets": torch.zeros_like(predict_at),
        "answers": len(predict_at),
    }


def _count_weights(network: PreTrainedModel) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
