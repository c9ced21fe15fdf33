"""The network of an export in llama.cpp, from its GGUF file, with a slot of keys and values for each answer.

Its weights are 8-bit numbers, so that a token reads a quarter of the bytes; now and then another token than with 32
bits is the likeliest. Tokenizer, choice of tokens and ends are this package's own.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lightning_med.data.preparation.cache.marks import Mark
from lightning_med.data.preparation.worker_pool import count_cores
from lightning_med.utils.errors import RunError

_BATCH = 512  # tokens that are read at once, at most
_GAP = 3  # slots without an answer between two with one, at most, that are read all the same
_ALONE = 256  # positions up to which a slot may be read alone; its kernel for one splits 512 and more, in steps of 256
_PAD = 256  # llama.cpp rounds the length of a slot up to a multiple


class LlamaBackend:
    """A GGUF file with slots, for `Engine`.

    Args:
        path: Of the file.
        slots: Answers that are written side by side.
        length: Longest prompt with its answer, in tokens; at most the network's context.
        threads: Default: the cores that this process may use.

    Raises:
        RunError: llama.cpp does not read the file.
    """

    def __init__(self, path: Path, slots: int, length: int, threads: int | None = None) -> None:
        import llama_cpp as llama

        self._llama: Any = llama
        self._mark = Mark(path)  # as long as this object lives
        # Kept for as long as it is used: llama.cpp holds the address of the function alone.
        self._log = llama.llama_log_callback(lambda level, text, data: None)
        llama.llama_log_set(self._log, ctypes.c_void_p(0))
        llama.llama_backend_init()
        settings = llama.llama_model_default_params()
        settings.n_gpu_layers = 0
        self._model = llama.llama_model_load_from_file(os.fsencode(path), settings)
        if not self._model:
            raise RunError(f"llama.cpp cannot read {path}.", "Export it again, or choose --engine transformers.")
        self.slots, self.length = slots, min(length, llama.llama_model_n_ctx_train(self._model))
        self.name = "llama.cpp, 8-bit weights"
        self._vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self._model))
        context = llama.llama_context_default_params()
        context.n_seq_max, context.n_ctx = slots, slots * -(-self.length // _PAD) * _PAD
        context.n_batch = context.n_ubatch = _BATCH
        context.n_threads = context.n_threads_batch = threads or count_cores()
        context.kv_unified = False  # else each answer would look at the tokens of all others, and throw them away
        self._context = llama.llama_init_from_model(self._model, context)
        if not self._context:
            raise RunError(f"llama.cpp has no memory for {slots} answers of {self.length} tokens.", "Lower --slots.")
        self._memory = llama.llama_get_memory(self._context)
        self._batch = llama.llama_batch_init(_BATCH, 0, 1)

    def prefill(self, slot: int, ids: Sequence[int], start: int) -> np.ndarray:
        """See `Backend`."""
        self._llama.llama_memory_seq_rm(self._memory, slot, start, -1)
        last = len(ids) - 1
        return self._decode([(token, start + place, slot, place == last) for place, token in enumerate(ids)])[slot]

    def copy(self, source: int, slot: int, count: int) -> None:
        """See `Backend`."""
        self._llama.llama_memory_seq_cp(self._memory, source, slot, -1, -1)  # llama.cpp copies whole slots alone
        self._llama.llama_memory_seq_rm(self._memory, slot, count, -1)

    def step(self, tokens: dict[int, int], places: dict[int, int]) -> dict[int, np.ndarray]:
        """See `Backend`."""
        fillers = self._find_fillers(places)
        entries = [(tokens[slot], places[slot], slot, True) for slot in tokens]
        entries += [(0, place, slot, False) for slot, place in fillers.items()]
        scores = self._decode(sorted(entries, key=lambda entry: entry[2]))
        for slot, place in fillers.items():
            self._llama.llama_memory_seq_rm(self._memory, slot, place, -1)
        return scores

    def _find_fillers(self, places: dict[int, int]) -> dict[int, int]:
        """Returns slots to read beside others, although nobody needs them, each with the position behind its tokens.

        llama.cpp reads all weights once for each group of successive slots: a token that nobody needs costs less, where
        a gap is short. And from some length on it sums the attention of a group of one in another order than that of
        larger ones, so that the last bits of an answer would depend on who else asks: such a slot is not read alone.
        """
        slots = sorted(places)
        wanted = set(slots)
        for first, last in pairwise(slots):
            if last - first - 1 <= _GAP:
                wanted.update(range(first, last))
        for slot in slots:
            if places[slot] >= _ALONE and not wanted & {slot - 1, slot + 1} and self.slots > 1:
                wanted.add(slot + 1 if slot + 1 < self.slots else slot - 1)
        # A slot has room behind its tokens: the last one that is chosen for it is never read.
        return {slot: self._llama.llama_memory_seq_pos_max(self._memory, slot) + 1 for slot in wanted - set(slots)}

    def _decode(self, entries: list[tuple[int, int, int, bool]]) -> dict[int, np.ndarray]:
        """Reads tokens, each with its position, its slot and whether its scores are wanted; returns these by slot."""
        batch = self._batch
        for row, (token, place, slot, is_wanted) in enumerate(entries):
            batch.token[row], batch.pos[row], batch.n_seq_id[row], batch.logits[row] = token, place, 1, is_wanted
            batch.seq_id[row][0] = slot
        batch.n_tokens = len(entries)
        if status := self._llama.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode returned {status}")
        return {
            slot: np.ctypeslib.as_array(
                self._llama.llama_get_logits_ith(self._context, row), (self._vocabulary,)
            ).copy()
            for row, (_, _, slot, is_wanted) in enumerate(entries)
            if is_wanted
        }

    def close(self) -> None:
        """See `Backend`."""
        self._llama.llama_batch_free(self._batch)
        self._llama.llama_free(self._context)
        self._llama.llama_model_free(self._model)
