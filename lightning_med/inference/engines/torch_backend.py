"""The network of an export in torch, with a slot of keys and values for each answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from lightning_med.inference.engines.packed_layers import pack_linear_layers
from lightning_med.inference.engines.slot_attention import SLOT_ATTENTION
from lightning_med.model.execution import get_context_length, use_native_attention
from lightning_med.utils.errors import RunError, describe_error

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ROWS = 4  # with fewer, matrix products in float32 take other ways, and differ in their last bits
_GRAIN = 64  # the width of the keys that are looked at grows by this many, so that shapes repeat


class _Step:
    """Which slots the network reads now: one of them from a position on (`slot`), or a token in each of several.

    Attributes:
        slot, start: The one, and the position.
        rows, places: The several, and the position in each.
        seen: The rows again, as what selects them: a range where this spares a copy.
        width: Positions that are looked at.
    """

    def __init__(self) -> None:
        self.slot: int | None = None
        self.start = self.width = 0
        self.rows = self.places = torch.zeros(0, dtype=torch.int64)
        self.seen: slice | Tensor = slice(0)


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
        assert keys is not None
        assert values is not None
        if step.slot is not None:
            end = step.start + key_states.shape[2]
            keys[step.slot, :, step.start : end] = key_states[0]
            values[step.slot, :, step.start : end] = value_states[0]
            return keys[step.slot : step.slot + 1, :, :end], values[step.slot : step.slot + 1, :, :end]
        keys[step.rows, :, step.places] = key_states[:, :, 0]
        values[step.rows, :, step.places] = value_states[:, :, 0]
        return keys[step.seen, :, : step.width], values[step.seen, :, : step.width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0  # asked only where no mask is given

    def get_seq_length(self) -> int:
        return 0  # positions are always given

    def get_max_length(self) -> int:
        return self._length


class TorchBackend:
    """A network with slots, for `Engine`.

    An answer does not depend on those beside it, to the last bit on the processors that were measured; it may on
    whether its prompt was read at once.

    Args:
        network: In evaluation mode, of a base whose layers all look at the whole text. It is changed for generation,
            and of no use for anything else.
        slots: Answers that are written side by side.
        length: Longest prompt with its answer, in tokens; at most the network's context.

    Raises:
        RunError: There is no memory for the slots.
    """

    def __init__(self, network: PreTrainedModel, slots: int, length: int) -> None:
        self.network, self.slots = network, slots
        if network.config._attn_implementation == "sdpa":
            network.set_attn_implementation(SLOT_ATTENTION)
        pack_linear_layers(network)
        self.length = min(length, get_context_length(network))
        self.name = f"transformers, {str(network.dtype).removeprefix('torch.')}"
        self._step = _Step()
        self._layers: list[Any] = [
            _SlotLayer(self._step, slots, self.length) for _ in range(network.config.num_hidden_layers)
        ]
        self._cache = Cache(layers=self._layers)
        try:
            self.prefill(0, [0], 0)  # the slots are allocated with the first token
        except RuntimeError as error:
            raise RunError(
                f"There is no memory for {slots} answers of {self.length} tokens: {describe_error(error)}",
                "Lower --slots.",
            ) from error

    def prefill(self, slot: int, ids: Sequence[int], start: int) -> np.ndarray:
        """See `Backend`."""
        self._step.slot, self._step.start = slot, start
        places = torch.arange(start, start + len(ids), device=self.network.device)
        seen = torch.arange(start + len(ids), device=self.network.device)
        mask = (seen[None] <= places[:, None])[None, None]
        return self._run(torch.tensor([list(ids)], device=self.network.device), mask, places[None])[0]

    def copy(self, source: int, slot: int, count: int) -> None:
        """See `Backend`."""
        with torch.inference_mode():
            for layer in self._layers:
                for states in (layer.keys, layer.values):
                    states[slot, :, :count] = states[source, :, :count]

    def step(self, tokens: dict[int, int], places: dict[int, int]) -> dict[int, np.ndarray]:
        """See `Backend`."""
        step, device = self._step, self.network.device
        rows = self._choose_rows(sorted(tokens))
        step.slot, step.rows = None, torch.tensor(rows, device=device)
        is_range = rows[-1] - rows[0] == len(rows) - 1
        step.seen = slice(rows[0], rows[-1] + 1) if is_range else step.rows
        # A slot that is not asked for gets a token behind all that it may keep.
        step.places = torch.tensor([places.get(row, self.length - 1) for row in rows], device=device)
        step.width = min(-(-(max(places.values()) + 1) // _GRAIN) * _GRAIN, self.length)
        mask = torch.arange(step.width, device=device)[None] <= step.places[:, None]
        ids = torch.tensor([[tokens.get(row, 0)] for row in rows], device=device)
        scores = self._run(ids, mask[:, None, None], step.places[:, None])
        return {slot: scores[row] for row, slot in enumerate(rows) if slot in tokens}

    def _choose_rows(self, slots: list[int]) -> list[int]:
        """Returns the slots to compute: all between the first and the last, unless most of these are not asked for."""
        if slots[-1] - slots[0] < 2 * len(slots):
            slots = list(range(slots[0], slots[-1] + 1))
        missing = min(_ROWS, self.slots) - len(slots)
        if missing <= 0:
            return slots
        return sorted([*slots, *[row for row in range(self.slots) if row not in slots][:missing]])

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
        self._layers.clear()
        self._cache = Cache(layers=[])
