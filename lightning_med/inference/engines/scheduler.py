"""Continuous batching: one thread that writes many answers side by side and takes new questions while it writes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lightning_med.inference.decoding import Decoding
from lightning_med.inference.engines.answer_stream import AnswerStream
from lightning_med.inference.engines.answer_text import AnswerText
from lightning_med.inference.engines.slots import Slots
from lightning_med.inference.engines.token_choice import TokenChooser
from lightning_med.inference.generation import GeneratedAnswer
from lightning_med.inference.logits_processors import find_word_starts
from lightning_med.tokenization.encoder import Encoder

LENGTH = 1024  # tokens of a conversation with its answer
PREFILL = 256  # tokens of a prompt that are read at once: meanwhile the other answers wait


class Backend(Protocol):
    """A network with room for the keys and values of several conversations, each in a slot of its own.

    Attributes:
        name: For people.
        slots: How many.
        length: Tokens of each.
    """

    name: str
    slots: int
    length: int

    def prefill(self, slot: int, ids: Sequence[int], start: int) -> np.ndarray:
        """Reads tokens into a slot from position `start` on; returns the scores after the last, `[vocabulary]`."""
        ...

    def copy(self, source: int, slot: int, count: int) -> None:
        """Copies the first tokens of a slot into another one, whose own are forgotten."""
        ...

    def step(self, tokens: dict[int, int], places: dict[int, int]) -> dict[int, np.ndarray]:
        """Reads one token in each of some slots, at the position in `places`; returns the scores after each."""
        ...

    def close(self) -> None:
        """Frees its memory."""
        ...


@dataclass
class _Writing:
    """An answer in a slot."""

    prompt: list[int]
    opening: int
    decoding: Decoding
    stream: AnswerStream
    text: AnswerText
    chooser: TokenChooser
    read: int = 0  # tokens of the prompt that are in the slot

    @property
    def ids(self) -> list[int]:
        """Tokens that are in the slot: all but the last chosen one, which is read next."""
        return [*self.prompt[: self.read], *self.chooser.tokens[:-1]]


class Engine:
    """Writes answers in a thread of its own.

    A conversation that goes on finds its tokens in the slot where it was, so that only what is new is read.

    Args:
        open_backend: Makes the network; it is called in that thread, for OpenMP waits twice as long between operations
            where two threads of a process compute.
        encoder: With the tokenizer that the network was trained with.

    Attributes:
        backend: The network; used by that thread alone.

    Raises:
        Exception: What `open_backend` raises.
    """

    def __init__(self, open_backend: Callable[[], Backend], encoder: Encoder) -> None:
        self._punished = find_word_starts(encoder.tokenizer, encoder.stops).numpy()
        self._active: dict[int, _Writing] = {}
        self._waiting: deque[_Writing] = deque()
        self._wake = threading.Condition()
        self._is_closing = False
        opened: Future[Backend] = Future()
        self._thread = threading.Thread(target=self._work, args=(open_backend, opened), name="engine", daemon=True)
        self._thread.start()
        self.backend = opened.result()
        self._slots = Slots(self.backend.slots)

    @property
    def load(self) -> tuple[int, int]:
        """How many answers are being written, and how many wait."""
        return len(self._active), len(self._waiting)

    def submit(
        self,
        prompt: list[int],
        encoder: Encoder,
        decoding: Decoding,
        opening: int = 0,
        stop_texts: Sequence[str] = (),
    ) -> AnswerStream:
        """Begins an answer; it waits while all slots are taken.

        Args:
            prompt: Token ids; with `decoding.max_new_tokens` they must fit a slot.
            encoder: That made them; says where the answer is over.
            decoding: Decoding settings.
            opening: How many tokens of the prompt other prompts begin with, too: they are read once, then copied.
            stop_texts: Each ends the answer.

        Raises:
            ValueError: It does not fit.
        """
        if not prompt or len(prompt) + decoding.max_new_tokens > self.backend.length:
            raise ValueError(f"{len(prompt)} + {decoding.max_new_tokens} tokens do not fit {self.backend.length}")
        stream, chooser = AnswerStream(), TokenChooser(decoding, prompt, self._punished)
        opening = min(opening, len(prompt) - 1)
        writing = _Writing(prompt, opening, decoding, stream, AnswerText(encoder, stop_texts), chooser)
        with self._wake:
            if self._is_closing:
                raise ValueError("the engine is closed")
            self._waiting.append(writing)
            self._wake.notify()
        return stream

    def close(self) -> None:
        """Breaks off all answers and ends the thread."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        self._thread.join()

    def _work(self, open_backend: Callable[[], Backend], opened: Future[Backend]) -> None:
        try:
            backend = open_backend()
        except BaseException as error:
            opened.set_exception(error)
            return
        opened.set_result(backend)
        try:
            self._run()
        finally:
            with self._wake:
                self._is_closing = True  # whatever ended the thread: nobody may wait for it
            self._fail_all(ConnectionAbortedError("the server stops"))
            backend.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._active or self._waiting or self._is_closing)
                if self._is_closing:
                    break
            try:
                self._drop_cancelled()
                self._admit()
                self._advance()
            except Exception as error:  # of the network: those who wait must hear of it, and the next one be served
                self._fail_all(error)

    def _drop_cancelled(self) -> None:
        for slot in [slot for slot, writing in self._active.items() if writing.stream.is_cancelled]:
            self._free(slot)
        with self._wake:
            self._waiting = deque(writing for writing in self._waiting if not writing.stream.is_cancelled)

    def _admit(self) -> None:
        """Gives waiting answers the free slots, and reads some of the prompts that are not read."""
        budget = PREFILL
        while budget > 0 and len(self._active) < len(self._slots) and (writing := self._take_waiting()):
            slot = self._place(writing)
            if writing.read < writing.opening:  # now, so that those after it can copy it
                budget -= self._read(slot)
        for slot, writing in list(self._active.items()):
            if budget > 0 and writing.read < len(writing.prompt):
                budget -= self._read(slot)

    def _take_waiting(self) -> _Writing | None:
        with self._wake:
            return self._waiting.popleft() if self._waiting else None

    def _place(self, writing: _Writing) -> int:
        """Gives an answer a slot, with what is known of its prompt already; returns the slot."""
        place = self._slots.choose(writing.prompt, writing.opening, self._active)
        self._active[place.slot] = writing
        if place.source is not None:
            self.backend.copy(place.source, place.slot, place.start)
        writing.read = place.start
        self._note(place.slot)
        return place.slot

    def _read(self, slot: int) -> int:
        """Reads the next piece of a prompt; returns its tokens.

        Its pieces are the same whoever else waits: with others some networks' scores differ in their last bits.
        """
        writing = self._active[slot]
        end = writing.opening if writing.read < writing.opening else len(writing.prompt)
        part = writing.prompt[writing.read : min(end, writing.read + PREFILL)]
        scores = self.backend.prefill(slot, part, writing.read)
        writing.read += len(part)
        self._note(slot)
        if writing.read == len(writing.prompt):
            self._choose(slot, scores)
        return len(part)

    def _note(self, slot: int) -> None:
        """Notes what an answer has in its slot."""
        writing = self._active[slot]
        opening = writing.opening if writing.read >= writing.opening else 0
        self._slots.note(slot, writing.ids, len(writing.prompt), opening)

    def _advance(self) -> None:
        """Writes one token of each answer whose prompt is read."""
        ready = {slot: writing for slot, writing in sorted(self._active.items()) if writing.read == len(writing.prompt)}
        if not ready:
            return
        tokens = {slot: writing.chooser.tokens[-1] for slot, writing in ready.items()}
        places = {slot: len(writing.prompt) + len(writing.chooser.tokens) - 1 for slot, writing in ready.items()}
        for slot, scores in self.backend.step(tokens, places).items():
            self._choose(slot, scores)

    def _choose(self, slot: int, scores: np.ndarray) -> None:
        """Takes the next token of an answer; an answer that is over leaves its slot."""
        writing = self._active[slot]
        try:
            writing.text.add(writing.chooser.choose(scores))
        except Exception as error:  # of this answer alone: the others go on
            self._free(slot)
            writing.stream.fail(error)
            return
        is_full = len(writing.chooser.tokens) >= writing.decoding.max_new_tokens
        if writing.text.is_over or is_full:
            text, count = writing.text, len(writing.chooser.tokens) - writing.text.is_at_end_token
            self._free(slot)
            writing.stream.finish(GeneratedAnswer(text.answer, text.ended, count, is_cut=not text.is_over))
        else:
            writing.stream.extend(writing.text.certain)

    def _free(self, slot: int) -> None:
        self._note(slot)
        del self._active[slot]

    def _fail_all(self, error: BaseException) -> None:
        with self._wake:
            broken = [*self._active.values(), *self._waiting]
            self._active.clear()
            self._waiting.clear()
        self._slots.clear()
        for writing in broken:
            writing.stream.fail(error)
