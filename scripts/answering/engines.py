"""Our engines, in the process that asks."""

from __future__ import annotations

from copy import copy
from dataclasses import fields
from functools import partial
from pathlib import Path

from answering.jobs import Job, QuestionSet, Skipped, Writing
from lightning_med.inference.decoding import Decoding
from lightning_med.inference.engines.answer_stream import AnswerStream
from lightning_med.inference.engines.scheduler import LENGTH, Backend, Engine
from lightning_med.inference.model_folder import open_export
from lightning_med.tokenization.conversations import count_opening
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompts import Prompt


class _EndlessPrompt(Prompt):
    """A prompt whose answers are never over; a turn is searched for all the same, as this takes time, too."""

    def find_turn(self, text: str) -> int | None:
        super().find_turn(text)
        return None


def make_endless(encoder: Encoder) -> Encoder:
    """Returns a copy of an encoder with which every answer has its full length."""
    other = copy(encoder)
    own = {one.name: getattr(encoder.prompt, one.name) for one in fields(Prompt)}
    other.prompt = _EndlessPrompt(**own)
    vars(other)["stops"] = []  # where its cached property keeps them
    return other


class OurEngine:
    """An engine.

    Args:
        job: With the export and its GGUF file.
        weights: `q8_0` for llama.cpp, else torch's type.
    """

    pid = None

    def __init__(self, job: Job, weights: str) -> None:
        model = open_export(Path(job.model))
        open_backend = partial(_open_llama, job) if weights == "q8_0" else partial(_open_torch, job, weights)
        self._encoder = make_endless(model.encoder)
        self._engine, self._opening = Engine(open_backend, model.encoder), count_opening(model.encoder)

    def write(self, asked: QuestionSet, tokens: int) -> list[Writing]:
        """See `Program`."""
        decoding, writings, streams = Decoding(tokens, no_repeat_ngram_size=0), [], []
        for prompt in asked.prompts:
            stream, writing = self._engine.submit(prompt, self._encoder, decoding, opening=self._opening), Writing()
            stream.listen(partial(_note, stream, writing))
            streams.append(stream)
            writings.append(writing)
        for stream, writing in zip(streams, writings, strict=True):
            answer = stream.get_answer()
            writing.text, writing.tokens = answer.text, answer.tokens
        return writings

    def close(self) -> None:
        """See `Program`."""
        self._engine.close()


def _note(stream: AnswerStream, writing: Writing) -> None:
    if stream.text or stream.is_done:
        writing.note()


def _open_llama(job: Job) -> Backend:
    from lightning_med.inference.engines.llama_backend import LlamaBackend

    if job.gguf is None:
        raise Skipped("llama-cpp-python is not installed, or does not know this network.")
    return LlamaBackend(Path(job.gguf), job.slots, LENGTH, job.threads)


def _open_torch(job: Job, weights: str) -> Backend:
    import torch

    from lightning_med.inference.engines.torch_backend import TorchBackend

    torch.set_num_threads(job.threads)
    network = open_export(Path(job.model)).load_network(getattr(torch, weights))
    return TorchBackend(network, job.slots, LENGTH)
