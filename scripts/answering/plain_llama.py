"""llama.cpp without this package and without torch: what its kernels can do, whoever calls them."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from answering.jobs import Job, QuestionSet, Skipped, Writing

_PAD = 256  # llama.cpp rounds the length of a sequence up to a multiple
_BATCH = 512  # tokens that go through the network at once

_SPARE = 64  # tokens by which a prompt may be longer than that of the first call

Entry = tuple[int, int, int, bool]  # token, position, sequence, whether its scores are wanted


@dataclass
class _Sequences:
    """Room for some sequences, and the prompt that each holds."""

    context: Any
    batch: Any
    held: list[list[int]]


class PlainLlama:
    """A GGUF file in llama.cpp: all sequences begin and end together.

    Args:
        job: With the file.
    """

    pid = None

    def __init__(self, job: Job) -> None:
        try:
            import llama_cpp as llama
        except ImportError as error:
            raise Skipped("llama-cpp-python is not installed.") from error
        if job.gguf is None:
            raise Skipped("llama.cpp does not know this network.")
        self._llama: Any = llama
        self._threads = job.threads
        self._tokens = job.tokens
        self._opened: dict[int, _Sequences] = {}
        self._log = llama.llama_log_callback(lambda level, text, data: None)  # kept: llama.cpp has its address alone
        llama.llama_log_set(self._log, ctypes.c_void_p(0))
        llama.llama_backend_init()
        settings = llama.llama_model_default_params()
        settings.n_gpu_layers = 0
        self._model = llama.llama_model_load_from_file(os.fsencode(job.gguf), settings)
        self._vocabulary = llama.llama_model_get_vocab(self._model)
        self._size = llama.llama_vocab_n_tokens(self._vocabulary)

    def write(self, asked: QuestionSet, tokens: int) -> list[Writing]:
        """See `Program`."""
        prompts = asked.prompts
        sequences = self._open(len(prompts), max(map(len, prompts)) + self._tokens)
        writings = [Writing() for _ in prompts]
        answers: list[list[int]] = [[] for _ in prompts]
        # One prompt after the other: llama.cpp is slower with several in a call.
        for entries, answer, writing in zip(self._place(sequences, prompts), answers, writings, strict=True):
            answer += self._decode(sequences, entries)
            writing.note()
        for step in range(tokens - 1):
            entries = [(answers[row][-1], len(prompt) + step, row, True) for row, prompt in enumerate(prompts)]
            for answer, writing, token in zip(answers, writings, self._decode(sequences, entries), strict=True):
                answer.append(token)
                writing.note()
        for writing, answer in zip(writings, answers, strict=True):
            writing.tokens, writing.text = len(answer), self._make_text(answer)
        return writings

    def close(self) -> None:
        """See `Program`."""
        for sequences in self._opened.values():
            self._llama.llama_batch_free(sequences.batch)
            self._llama.llama_free(sequences.context)
        self._llama.llama_model_free(self._model)

    def _open(self, count: int, length: int) -> _Sequences:
        """Returns room for some sequences, which is made at the first call, before the clock runs."""
        if count not in self._opened:
            settings = self._llama.llama_context_default_params()
            room = -(-(length + _SPARE) // _PAD) * _PAD  # of one sequence
            settings.n_seq_max, settings.n_ctx = count, count * room
            settings.n_batch, settings.n_ubatch = max(room, count), _BATCH
            settings.n_threads = settings.n_threads_batch = self._threads
            settings.kv_unified = False
            context = self._llama.llama_init_from_model(self._model, settings)
            batch = self._llama.llama_batch_init(settings.n_batch, 0, 1)
            self._opened[count] = _Sequences(context, batch, [[] for _ in range(count)])
        return self._opened[count]

    def _place(self, sequences: _Sequences, prompts: list[list[int]]) -> list[list[Entry]]:
        """Returns what is read of each prompt: not their beginnings that the sequences hold, as with our engine."""
        memory, entries = self._llama.llama_get_memory(sequences.context), []
        for row, (held, prompt) in enumerate(zip(sequences.held, prompts, strict=True)):
            kept = min(_count_shared(held, prompt), len(prompt) - 1)
            self._llama.llama_memory_seq_rm(memory, row, kept, -1)
            last = len(prompt) - 1
            entries.append([(prompt[place], place, row, place == last) for place in range(kept, len(prompt))])
        sequences.held = prompts
        return entries

    def _decode(self, sequences: _Sequences, entries: list[Entry]) -> list[int]:
        """Reads tokens; returns the likeliest after each whose scores are wanted."""
        batch, context = sequences.batch, sequences.context
        for row, (token, place, sequence, is_wanted) in enumerate(entries):
            batch.token[row], batch.pos[row], batch.n_seq_id[row], batch.logits[row] = token, place, 1, is_wanted
            batch.seq_id[row][0] = sequence
        batch.n_tokens = len(entries)
        if status := self._llama.llama_decode(context, batch):
            raise RuntimeError(f"llama_decode returned {status}")
        return [
            int(np.ctypeslib.as_array(self._llama.llama_get_logits_ith(context, row), (self._size,)).argmax())
            for row, entry in enumerate(entries)
            if entry[3]
        ]

    def _make_text(self, ids: list[int]) -> str:
        size = 64 * len(ids)
        text, tokens = ctypes.create_string_buffer(size), (ctypes.c_int32 * len(ids))(*ids)
        count = self._llama.llama_detokenize(self._vocabulary, tokens, len(ids), text, size, True, False)
        return text.raw[: max(count, 0)].decode("utf-8", "replace")


def _count_shared(first: list[int], second: list[int]) -> int:
    pairs = zip(first, second, strict=False)
    return next((place for place, (one, two) in enumerate(pairs) if one != two), min(len(first), len(second)))
