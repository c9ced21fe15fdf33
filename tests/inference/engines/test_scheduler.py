"""An engine writes what `generate_answers` writes, whoever is answered beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from queue import Queue
from typing import Any

import numpy as np
import pytest

from lightning_med.inference.decoding import Decoding
from lightning_med.inference.engines.scheduler import Engine
from lightning_med.inference.engines.slots import count_shared
from lightning_med.inference.engines.token_choice import TokenChooser
from lightning_med.inference.engines.torch_backend import TorchBackend
from lightning_med.inference.generation import encode_prompts, generate_with_ends
from lightning_med.tokenization.conversations import encode_conversation
from lightning_med.tokenization.encoder import Encoder
from lightning_med.utils.errors import RunError

QUESTIONS = ["Why?", "My tongue is sore and red since monday, what can I do?", "Cough " * 12, "é 😀 ?", "Is it a cold?"]
DECODINGS = [
    Decoding(24, no_repeat_ngram_size=0),
    Decoding(24, no_repeat_ngram_size=2, repetition_penalty=1.3),
    Decoding(24, temperature=0.8, top_p=0.9, min_p=0.02, no_repeat_ngram_size=3),
    Decoding(24, temperature=1.5, top_p=1.0, sampling_seed=7),
]


@pytest.fixture
def engine(network: Any, encoder: Encoder) -> Iterator[Engine]:
    engine = Engine(lambda: TorchBackend(network, slots=3, length=256), encoder)
    yield engine
    engine.close()


@pytest.mark.parametrize("decoding", DECODINGS)
def test_an_engine_writes_what_generation_writes(
    decoding: Decoding, network: Any, encoder: Encoder, engine: Engine
) -> None:
    prompts, count = encode_prompts(network, encoder, QUESTIONS, decoding)
    decoding = replace(decoding, max_new_tokens=count)
    wanted = [generate_with_ends(network, encoder, [question], decoding)[0] for question in QUESTIONS]
    streams = [engine.submit(prompt, encoder, decoding) for prompt in prompts]  # more than there are slots
    for stream, answer in zip(streams, wanted, strict=True):
        assert stream.get_answer(30) == answer


def test_pieces_of_a_stream_are_the_answer(network: Any, encoder: Encoder, engine: Engine) -> None:
    (prompt,), _ = encode_prompts(network, encoder, QUESTIONS[:1], DECODINGS[0])
    stream = engine.submit(prompt, encoder, DECODINGS[0])
    assert "".join(stream) == stream.get_answer(30).text


def test_a_conversation_that_goes_on_is_read_from_where_it_was(
    network: Any, encoder: Encoder, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = encoder.encode_question(QUESTIONS[1], 100)
    answer = engine.submit(first, encoder, DECODINGS[0]).get_answer(30).text
    starts: list[int] = []
    prefill = engine.backend.prefill
    monkeypatch.setattr(
        engine.backend, "prefill", lambda slot, ids, start: [starts.append(start), prefill(slot, ids, start)][1]
    )
    second = encode_conversation(encoder, [QUESTIONS[1], "And at night?"], [answer], 240)
    again = engine.submit(second, encoder, DECODINGS[0]).get_answer(30)
    assert starts[0] >= len(first)
    fresh = Engine(lambda: TorchBackend(network, slots=1, length=256), encoder)
    assert fresh.submit(second, encoder, DECODINGS[0]).get_answer(30) == again
    fresh.close()


class HeldBackend:
    """Writes the same token for ever; each step waits until it is let.

    Attributes:
        begun: How many answers each step writes.
        gate: Lets steps.
    """

    name, slots, length = "held", 2, 256

    def __init__(self, scores: np.ndarray) -> None:
        self._scores = scores
        self.begun: Queue[int] = Queue()
        self.gate = threading.Semaphore(0)

    def prefill(self, slot: int, ids: Sequence[int], start: int) -> np.ndarray:
        return self._scores.copy()

    def copy(self, source: int, slot: int, count: int) -> None:
        pass

    def step(self, tokens: dict[int, int], places: dict[int, int]) -> dict[int, np.ndarray]:
        self.begun.put(len(tokens))
        assert self.gate.acquire(timeout=30)
        return {slot: self._scores.copy() for slot in tokens}

    def close(self) -> None:
        pass


def test_a_cancelled_answer_makes_room(encoder: Encoder) -> None:
    scores = np.zeros(len(encoder.tokenizer), np.float32)
    scores[encoder.tokenizer.encode(" tea", add_special_tokens=False)[-1]] = 1
    backend, prompt = HeldBackend(scores), encoder.encode_question("Why?", 10)
    long = Decoding(100, no_repeat_ngram_size=0, repetition_penalty=1.0)
    engine = Engine(lambda: backend, encoder)
    try:
        first = engine.submit(prompt, encoder, long)
        assert backend.begun.get(timeout=30) == 1
        second, third, fourth = (engine.submit(prompt, encoder, long) for _ in range(3))
        backend.gate.release()
        assert backend.begun.get(timeout=30) == 2
        assert engine.load == (2, 2)  # two are written, and two wait
        first.cancel()
        third.cancel()
        backend.gate.release()
        assert backend.begun.get(timeout=30) == 2
        assert engine.load == (2, 0)  # the fourth has the slot of the first
        second.cancel()
        fourth.cancel()
        last = engine.submit(prompt, encoder, replace(long, max_new_tokens=1))
        backend.gate.release()
        assert last.get_answer(30).tokens == 1
        assert engine.load == (0, 0)
        assert backend.begun.empty()
    finally:
        backend.gate.release(1000)
        engine.close()


def test_a_failure_is_told_and_the_next_one_is_answered(
    encoder: Encoder, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = encoder.encode_question("Why?", 10)

    def fail(*args: object) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(engine.backend, "prefill", fail)
        with pytest.raises(RunError, match="no room"):
            engine.submit(prompt, encoder, DECODINGS[0]).get_answer(30)
    assert engine.submit(prompt, encoder, DECODINGS[0]).get_answer(30).tokens >= 1


def test_a_fault_of_one_answer_ends_that_one_alone(
    encoder: Encoder, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = encoder.encode_question("Why?", 10)
    wanted = engine.submit(prompt, encoder, DECODINGS[0]).get_answer(30)
    choose = TokenChooser.choose

    def fail_late(chooser: TokenChooser, scores: Any) -> int:
        if chooser._decoding.max_new_tokens == 23 and len(chooser.tokens) == 3:
            raise ZeroDivisionError("by chance")
        return choose(chooser, scores)

    monkeypatch.setattr(TokenChooser, "choose", fail_late)
    streams = [engine.submit(prompt, encoder, replace(DECODINGS[0], max_new_tokens=count)) for count in (24, 23, 24)]
    with pytest.raises(RunError, match="by chance"):
        streams[1].get_answer(30)
    assert [streams[number].get_answer(30) for number in (0, 2)] == [wanted, wanted]


def test_a_reader_that_fails_harms_no_other(encoder: Encoder, engine: Engine) -> None:
    prompt = encoder.encode_question("Why?", 10)

    def fail() -> None:
        if threading.current_thread().name == "engine":
            raise RuntimeError("the loop is closed")

    broken, other = (engine.submit(prompt, encoder, DECODINGS[0]) for _ in range(2))
    broken.listen(fail)
    assert other.get_answer(30) == broken.get_answer(30)
    assert engine.submit(prompt, encoder, DECODINGS[0]).get_answer(30).tokens >= 1


def test_a_backend_that_does_not_open_is_told(encoder: Encoder) -> None:
    def fail() -> Any:
        raise RunError("no memory")

    with pytest.raises(RunError, match="no memory"):
        Engine(fail, encoder)


def test_no_answer_is_begun_after_the_end(network: Any, encoder: Encoder) -> None:
    engine = Engine(lambda: TorchBackend(network, slots=1, length=256), encoder)
    prompt = encoder.encode_question("Why?", 10)
    streams = [engine.submit(prompt, encoder, replace(DECODINGS[0], max_new_tokens=100)) for _ in range(3)]
    engine.close()
    for stream in streams:
        assert stream.is_done
    with pytest.raises(ValueError, match="closed"):
        engine.submit(prompt, encoder, DECODINGS[0])


@pytest.mark.parametrize("temperature", [1e-40, 1e-5])
def test_a_temperature_next_to_nothing_is_greedy(temperature: float, encoder: Encoder, engine: Engine) -> None:
    prompt = encoder.encode_question(QUESTIONS[1], 40)
    wanted = engine.submit(prompt, encoder, DECODINGS[0]).get_answer(30)
    decoding = replace(DECODINGS[0], temperature=temperature, min_p=0.5)
    assert engine.submit(prompt, encoder, decoding).get_answer(30) == wanted


def test_what_does_not_fit_is_refused(encoder: Encoder, engine: Engine) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        engine.submit([1] * 150, encoder, DECODINGS[0])


def test_shared_beginnings_are_counted() -> None:
    assert count_shared([1, 2, 3], [1, 2, 4, 5]) == 2
    assert count_shared([], [1]) == 0
