"""An answer is the same, to the last bit of its scores, whoever is answered beside it or was before it."""

from __future__ import annotations

import copy
import importlib.util
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_med.data.module import DialogueDataModule
from lightning_med.export.gguf.cached_file import make_gguf
from lightning_med.inference.decoding import Decoding
from lightning_med.inference.engines.scheduler import Backend, Engine
from lightning_med.inference.engines.torch_backend import TorchBackend
from lightning_med.inference.model_folder import open_export
from lightning_med.tokenization.encoder import Encoder
from tests import tiny

needs_llama = pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="needs llama-cpp-python")
DECODING = Decoding(20, no_repeat_ngram_size=0)
SLOTS, LENGTH = 12, 160


def make_torch(dtype: torch.dtype, network: Any) -> Backend:
    return TorchBackend(copy.deepcopy(network).to(dtype), SLOTS, LENGTH)  # which changes it


def make_llama(tmp_path_factory: pytest.TempPathFactory) -> Backend:
    from lightning_med.inference.engines.llama_backend import LlamaBackend

    model = open_export(tiny.finished_export(tmp_path_factory.getbasetemp() / "tiny"))
    path = make_gguf(model, tmp_path_factory.getbasetemp() / "gguf", lambda *_: None)
    return LlamaBackend(path, SLOTS, LENGTH)


@pytest.fixture(params=["float32", "bfloat16", pytest.param("llama.cpp", marks=needs_llama)])
def make(request: pytest.FixtureRequest, network: Any, tmp_path_factory: Any) -> Callable[[], Backend]:
    if request.param == "llama.cpp":
        return lambda: make_llama(tmp_path_factory)
    return lambda: make_torch(getattr(torch, request.param), network)


class Recorder:
    """A backend that keeps the scores of each slot's tokens as they come."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.name, self.slots, self.length = backend.name, backend.slots, backend.length
        self.scores: dict[int, list[np.ndarray]] = {}
        self.copies: list[tuple[int, int, int]] = []
        self.starts: list[tuple[int, int]] = []

    def prefill(self, slot: int, ids: Any, start: int) -> np.ndarray:
        self.starts.append((slot, start))
        self.scores[slot] = [self.backend.prefill(slot, ids, start).copy()]
        return self.scores[slot][-1].copy()

    def step(self, tokens: dict[int, int], places: dict[int, int]) -> dict[int, np.ndarray]:
        scores = self.backend.step(tokens, places)
        for slot, row in scores.items():
            self.scores[slot].append(row.copy())
        return scores

    def copy(self, source: int, slot: int, count: int) -> None:
        self.copies.append((source, slot, count))
        self.backend.copy(source, slot, count)

    def close(self) -> None:
        self.backend.close()


def list_prompts(encoder: Encoder) -> tuple[list[list[int]], int]:
    rng = random.Random(3)
    texts = [" ".join(rng.choices(tiny.WORDS, k=rng.randint(1, 40))) for _ in range(30)]
    prompts = [encoder.encode_question(text, 100) for text in texts]
    shared = list(zip(*prompts, strict=False))
    return prompts, next(place for place, ids in enumerate(shared) if len(set(ids)) > 1)


def test_scores_do_not_depend_on_neighbours(make: Callable[[], Backend], data: DialogueDataModule) -> None:
    prompts, opening = list_prompts(data.encoder)
    alone = []
    for prompt in prompts[:6]:
        engine = Engine(lambda: Recorder(make()), data.encoder)
        recorder = engine.backend
        answer = engine.submit(prompt, data.encoder, DECODING, opening=opening).get_answer(60)
        engine.close()
        alone.append((answer, recorder.scores[0]))
    engine = Engine(lambda: Recorder(make()), data.encoder)
    recorder = engine.backend
    for round in range(3):  # slots are taken, freed and taken again, by prompts in another order each time
        order = list(range(len(prompts)))
        random.Random(round).shuffle(order)
        streams = {number: engine.submit(prompts[number], data.encoder, DECODING, opening=opening) for number in order}
        for number, (answer, _) in enumerate(alone):
            assert streams[number].get_answer(60) == answer
        for stream in streams.values():
            stream.get_answer(60)
    streams = {number: engine.submit(prompts[number], data.encoder, DECODING, opening=opening) for number in range(6)}
    for number in range(6):
        assert streams[number].get_answer(60) == alone[number][0]
    engine.close()
    found = list(recorder.scores.values())
    for _, scores in alone:
        assert any(len(scores) == len(other) and np.array_equal(scores, other) for other in found)
    assert recorder.copies  # the opening was read once


def test_an_opening_is_read_once(make: Callable[[], Backend], data: DialogueDataModule) -> None:
    prompts, opening = list_prompts(data.encoder)
    engine = Engine(lambda: Recorder(make()), data.encoder)
    recorder = engine.backend
    for prompt in prompts[:8]:
        engine.submit(prompt, data.encoder, DECODING, opening=opening).get_answer(60)
    engine.close()
    assert [start for _, start in recorder.starts].count(0) == 1
    assert opening > 5


def test_scattered_slots_are_read_as_others(make: Callable[[], Backend], data: DialogueDataModule) -> None:
    prompts, _ = list_prompts(data.encoder)
    backend = make()
    for slot in range(SLOTS):
        backend.prefill(slot, prompts[slot], 0)
    ends = {slot: len(prompts[slot]) for slot in range(SLOTS)}
    whole = backend.step(dict.fromkeys(range(SLOTS), 7), ends)
    for slots in ([0, 3, 4, 11], [2], [1, 7], [11, 0], list(range(1, SLOTS))):
        for slot in slots:
            backend.prefill(slot, prompts[slot], 0)
        scores = backend.step(dict.fromkeys(slots, 7), {slot: ends[slot] for slot in slots})
        assert sorted(scores) == sorted(slots)
        for slot in slots:
            assert np.array_equal(scores[slot], whole[slot])
    backend.close()


@needs_llama
@pytest.mark.parametrize("slots", [[0], [5], [SLOTS - 1], [0, 2], [0, 9], [1, 4, 11], [2, 3, 8], list(range(SLOTS))])
def test_llama_reads_no_long_answer_alone(
    slots: list[int], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stream is summed in another order by its kernels, from 256 positions on: more than this network has."""
    backend: Any = make_llama(tmp_path_factory)
    decode, read = backend._decode, []
    backend._decode = lambda entries: [read.extend(entry[2] for entry in entries), decode(entries)][1]
    for length, alone in ((3, True), (4, False)):
        monkeypatch.setattr("lightning_med.inference.engines.llama_backend._ALONE", 4)
        for slot in slots:
            backend.prefill(slot, [1, 2, 3, 4][:length], 0)
        read.clear()
        assert sorted(backend.step(dict.fromkeys(slots, 4), dict.fromkeys(slots, length))) == slots
        assert read == sorted(read)
        assert all(alone or {slot - 1, slot + 1} & set(read) for slot in read)
        assert not alone or len(slots) > 1 or read == slots
    backend.close()


def test_the_gguf_file_is_made_once(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    model = open_export(tiny.finished_export(tmp_path_factory.getbasetemp() / "tiny"))
    path = make_gguf(model, tmp_path, lambda *_: None)
    number = path.stat().st_ino
    assert make_gguf(model, tmp_path, lambda *_: None) == path
    assert path.stat().st_ino == number  # the same file: one that is written has another number
    assert [file.name for file in tmp_path.iterdir()] == [path.name]  # and nothing else is left


def test_old_gguf_files_are_removed(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    model = open_export(tiny.finished_export(tmp_path_factory.getbasetemp() / "tiny"))
    for age in range(6):
        old = tmp_path / f"{age}.q8_0.gguf"
        old.write_text("old")
        os.utime(old, (1000 - age, 1000 - age))
    path = make_gguf(model, tmp_path, lambda *_: None)
    assert {file.name for file in tmp_path.iterdir()} == {path.name, "0.q8_0.gguf", "1.q8_0.gguf", "2.q8_0.gguf"}
