"""The network of an export in torch, with a slot of keys and values for each answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from lightning_med.model.execution import get_context_length, use_native_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_GRAIN = 64  # the width of the keys that are looked at grows by this many, so that shapes repeat


class _Step:
    """Which slots the network reads now: one of them from a position on (`slot`), or a token in each of several."""

    def __init__(self) -> None:
        self.slot: int | None = None
        self.start = self.width = 0
        self.rows = self.places = torch.zeros(0, dtype=torch.int64)


class _SlotLayer(CacheLayerMixin):
    """Keys and values of one layer, `[slots, heads, length, width]`; a slot's tokens begin at position 0."""

    is_compileable = False
    is_sliding = False

    def __init__(self, step: _Step, slots: int, length: int) -> None:
        super().__init__()
        self._step, self._slots, self._length = step, slots, length

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        def make(states: Tensor) -> Tensor:
            shape = (self._slots, states.shape[1], self._length, states.shape[3])
            return torch.zeros(shape, dtype=states.dtype, device=states.device)

        self.keys, self.values = make(key_states), make(value_states)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Stores new keys and values; returns those that the tokens may look at."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        step, keys, values = self._step, self.keys, self.values
        assert keys is not None and values is not None
        if step.slot is not None:
            end = step.start + key_states.shape[2]
            keys[step.slot, :, step.start : end] = key_states[0]
            values[step.slot, :, step.start : end] = value_states[0]
            return keys[step.slot : step.slot + 1, :, :end], values[step.slot : step.slot + 1, :, :end]
        keys[step.rows, :, step.places] = key_states[:, :, 0]
        values[step.rows, :, step.places] = value_states[:, :, 0]
        count = len(step.rows)
        return keys[:count, :, : step.width], values[:count, :, : step.width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0  # asked only where no mask is given

    def get_seq_length(self) -> int:
        return 0  # positions are always given

    def get_max_length(self) -> int:
        return self._length


class TorchBackend:
    """A network with slots, for `Engine`.

    Args:
        network: In evaluation mode, of a base whose layers all look at the whole text.
        slots: Answers that are written side by side.
        length: Longest prompt with its answer, in tokens; at most the network's context.
    """

    def __init__(self, network: PreTrainedModel, slots: int, length: int) -> None:
        self.network, self.slots = network, slots
        self.length = min(length, get_context_length(network))
        self.name = f"transformers, {str(network.dtype).removeprefix('torch.')}"
        self._step = _Step()
        layers: list[Any] = [
            _SlotLayer(self._step, slots, self.length) for _ in range(network.config.num_hidden_layers)
        ]
        self._cache = Cache(layers=layers)

    def prefill(self, slot: int, ids: Sequence[int], start: int) -> np.ndarray:
        """See `Backend`."""
        self._step.slot, self._step.start = slot, start
        places = torch.arange(start, start + len(ids), device=self.network.device)
        seen = torch.arange(start + len(ids), device=self.network.device)
        mask = (seen[None] <= places[:, None])[None, None]
        return self._run(torch.tensor([list(ids)], device=self.network.device), mask, places[None])[0]

    def step(self, tokens: dict[int, int], places: dict[int, int]) -> dict[int, np.ndarray]:
        """See `Backend`. Rows up to the last slot are computed; those of other slots are thrown away."""
        step, count, device = self._step, max(tokens) + 1, self.network.device
        step.slot, step.rows = None, torch.arange(count, device=device)
        # A slot that is not asked for gets a token behind all that it may keep.
        step.places = torch.tensor([places.get(row, self.length - 1) for row in range(count)], device=device)
        step.width = min(-(-(max(places.values()) + 1) // _GRAIN) * _GRAIN, self.length)
        mask = torch.arange(step.width, device=device)[None] <= step.places[:, None]
        ids = torch.tensor([[tokens.get(row, 0)] for row in range(count)], device=device)
        scores = self._run(ids, mask[:, None, None], step.places[:, None])
        return {slot: scores[slot] for slot in tokens}

    def _run(self, ids: Tensor, mask: Tensor, places: Tensor) -> np.ndarray:
        with torch.inference_mode(), use_native_attention(self.network):
            output = self.network(
                ids,
                attention_mask=mask,
                position_ids=places,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
        scores: np.ndarray = output.logits[:, -1].float().cpu().numpy()
        return scores

    def close(self) -> None:
        """See `Backend`."""
        self._cache = Cache(layers=[])
