"""Tokens that fit into a batch on this machine, measured once on the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lightning_med.model.adaptation import disable_checkpointing, enable_checkpointing, is_checkpointing
from lightning_med.model.causal_lm import compute_nll
from lightning_med.model.execution import get_context_length
from lightning_med.model.loss import CHUNK
from lightning_med.utils.memory.free_memory import measure_host_memory

CPU, CUDA = "cpu", "cuda"
SHARE = {CPU: 0.25, CUDA: 0.8}  # of the free memory; a CPU's is shared with everything else that runs there
MOST = {CPU: 16_384, CUDA: 65_536}  # tokens; beyond them a batch gets no faster
MULTIPLE = 512
MOMENTS = 8  # bytes per weight of AdamW's two averages, which do not exist yet when this is measured
_FLOAT32 = 4  # bytes
_SCATTER = 1.2  # on a CPU: memory that a pass touches, over what is alive at its peak; measured
_PROBED = 128  # tokens of a consultation in the probe on a CPU, where what a step keeps follows from its shape


@dataclass(frozen=True)
class StepMemory:
    """Memory of a training step beside weights and optimizer, in bytes.

    Attributes:
        fixed: What every batch needs, without gradients.
        per_token: For each token of a batch.
        per_square: For each token, times the tokens of its consultation: attention that keeps its probabilities.
        per_position: For each position whose logits are in memory at once.
        gradients: Of all weights; the forward pass needs them only where gradients are accumulated.
    """

    fixed: float
    per_token: float
    per_square: float
    per_position: float
    gradients: float

    def estimate(self, tokens: int, squares: int, accumulates: bool = False) -> float:
        """Returns the bytes of a step.

        Args:
            tokens: Of the batch.
            squares: Sum of the squared lengths of its consultations.
            accumulates: Whether gradients of other batches are in memory.
        """
        passing = self.fixed + self.per_token * tokens + self.per_square * squares
        passing += self.per_position * min(tokens, CHUNK)
        return passing + self.gradients if accumulates else max(passing, self.gradients)


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
        max_length: Tokens of the longest consultation; their tokens are the most expensive ones.

    Returns:
        A multiple of 512 tokens, at most 16,384 (65,536 on CUDA), but never less than `max_length`.
    """
    kind = CUDA if device.type == CUDA else CPU
    free = measure_free_memory(device)  # before the probe, whose memory the process keeps for the steps to come
    try:
        step = measure_step(network, device, context, max_length)
        per_token = step.per_token + step.per_square * max_length
        fixed = step.fixed + step.per_position * CHUNK + (step.gradients if kind == CPU else 0)
    except torch.cuda.OutOfMemoryError:
        fixed, per_token = 0, math.inf
    room = SHARE[kind] * (free - fixed - MOMENTS * count_trained(network))
    tokens = min(int(room / per_token), MOST[kind]) // MULTIPLE * MULTIPLE
    return BatchBudget(max(tokens, max_length), per_token, free)


def measure_free_memory(device: torch.device) -> int:
    """Returns the bytes that this process may still take: of the GPU, or of the machine, see `measure_host_memory`."""
    if device.type == CUDA:
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + kept)
    return measure_host_memory()


def measure_step(
    network: PreTrainedModel, device: torch.device, context: Callable[[], AbstractContextManager[Any]], max_length: int
) -> StepMemory:
    """Measures the memory of a step by short passes, once for a network; for the arguments see `measure_budget`."""
    if network not in _measured:
        training, devices = network.training, [device] if device.type == CUDA else []
        network.train()
        # Evaluation asks from inside inference mode.
        with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices):
            probe = _probe_cuda if device.type == CUDA else _probe_cpu
            _measured[network] = probe(network, device, context, min(max_length, get_context_length(network)))
        network.train(training)
    return _measured[network]


_measured: WeakKeyDictionary[PreTrainedModel, StepMemory] = WeakKeyDictionary()


def _probe_cuda(
    network: PreTrainedModel, device: torch.device, context: Callable[[], AbstractContextManager[Any]], length: int
) -> StepMemory:
    # More than one chunk of logits: from there on they take the same memory, whatever a batch holds.
    rows = max(-(-CHUNK // length), 1)
    few, many = (_make_full_batch(count, length, device) for count in (rows, 2 * rows))
    _measure_peak(network, few, context, device)  # the first call also allocates the libraries' workspaces
    less, more = (_measure_peak(network, batch, context, device) for batch in (few, many))
    per_token = max(more - less, 1) / (rows * length)
    fixed = max(less - rows * length * per_token, 0.0)
    return StepMemory(fixed, per_token, 0.0, 0.0, _FLOAT32 * count_trained(network))


def _probe_cpu(
    network: PreTrainedModel, device: torch.device, context: Callable[[], AbstractContextManager[Any]], length: int
) -> StepMemory:
    """Solves for the three parts of what is kept, from batches of 1 and 2 long and of 2 short consultations."""
    length = max(min(length, _PROBED) // 2 * 2, 2)
    shapes = ((1, length), (2, length), (2, length // 2))
    with _keep_activations(network) as checkpointed:
        one, two, halves = (_count_kept(network, _make_full_batch(*shape, device), context) for shape in shapes)
    per_square = max(2 * (one - halves) / length**2, 0.0)
    per_token = max((two - one) / length - per_square * length, 1 / length)
    if checkpointed:  # the input of each block, and all that one of them keeps
        config: Any = network.config.get_text_config()
        blocks = config.num_hidden_layers
        per_token = blocks * config.hidden_size * _FLOAT32 + per_token / blocks
        per_square /= blocks
    with context():
        autocast = torch.is_autocast_enabled(CPU)
        size = torch.get_autocast_dtype(CPU).itemsize if autocast else network.dtype.itemsize
    head: Any = network.get_output_embeddings().weight
    # The output layer's weight in the precision of the step, and its gradient in it, are alive with the logits.
    copies = int(head.dtype.itemsize != size) + int(head.requires_grad)
    fixed = max(2 * one - two, 0) + copies * head.numel() * size
    return StepMemory(
        fixed=_SCATTER * fixed,
        per_token=_SCATTER * per_token,
        per_square=_SCATTER * per_square,
        per_position=_SCATTER * head.shape[0] * size,
        gradients=_FLOAT32 * count_trained(network),
    )


@contextmanager
def _keep_activations(network: PreTrainedModel) -> Iterator[bool]:
    """Switches gradient checkpointing off, which hides what it keeps; yields whether it was on."""
    checkpointed = is_checkpointing(network)
    if checkpointed:
        disable_checkpointing(network)
    try:
        yield checkpointed
    finally:
        if checkpointed:
            enable_checkpointing(network)


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
        return tensor.detach()  # the tensor itself would keep its own graph alive, for ever

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


def count_trained(network: PreTrainedModel) -> int:
    """Returns how many weights of a network are trained."""
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
