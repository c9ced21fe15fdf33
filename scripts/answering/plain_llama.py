"""llama.cpp without this package and without torch: what its kernels can do, whoever calls them."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np

from answering.jobs import Job, QuestionSet, Skipped, Writing

_PAD = 256  # llama.cpp rounds the length of a sequence up to a multiple
_BATCH = 512  # tokens that go through the network at once

Entry = tuple[int, int, int, bool]  # token, position, sequence, whether its scores are wanted


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
        llama, prompts = self._llama, asked.prompts
        context = self._make_context(len(prompts), max(map(len, prompts)) + tokens, sum(map(len, prompts)))
        batch = llama.llama_batch_init(sum(map(len, prompts)), 0, 1)
        writings, answers = [Writing() for _ in prompts], [[] for _ in prompts]  # type: tuple[list[Writing], list[list[int]]]
        entries: list[Entry] = [
            (token, place, row, place == len(prompt) - 1)
            for row, prompt in enumerate(prompts)
            for place, token in enumerate(prompt)
        ]
        for step in range(tokens):
            for answer, writing, token in zip(answers, writings, self._decode(context, batch, entries), strict=True):
                answer.append(token)
                writing.note()
            entries = [(answers[row][-1], len(prompt) + step, row, True) for row, prompt in enumerate(prompts)]
        llama.llama_batch_free(batch)
        llama.llama_free(context)
        for writing, answer in zip(writings, answers, strict=True):
            writing.tokens, writing.text = len(answer), self._make_text(answer)
        return writings

    def close(self) -> None:
        """See `Program`."""
        self._llama.llama_model_free(self._model)

    def _make_context(self, sequences: int, length: int, tokens: int) -> Any:
        """Returns room for some sequences of one length; `tokens` are given at once at most."""
        settings = self._llama.llama_context_default_params()
        settings.n_seq_max, settings.n_ctx = sequences, sequences * -(-length // _PAD) * _PAD
        settings.n_batch, settings.n_ubatch = max(tokens, _BATCH), _BATCH
        settings.n_threads = settings.n_threads_batch = self._threads
        settings.kv_unified = False
        return self._llama.llama_init_from_model(self._model, settings)

    def _decode(self, context: Any, batch: Any, entries: list[Entry]) -> list[int]:
        """Reads tokens; returns the likeliest after each whose scores are wanted."""
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
