"""Encodes whole texts and maps their tokens to the segments they are made of.

Most tokenizers merge across the boundary of two segments (Qwen2's and Llama-3's make one token of `?` and the line
breaks after it), add characters (Llama-2's puts `▁` before a text), or let a token swallow the white space beside it
(Phi-3's `<|end|>`). So the whole text is encoded at once, as the text of the exported chat template is, and a token
belongs to the segment that holds its last character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from copy import copy
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from lightning_med.tokenization.backend_text import join_backend, replace_setting, split_backend

_TEXTS = 256  # encoded at once: offsets take several times the memory of ids
_UNKNOWN = "\U0010fffd"  # a character of no vocabulary
SEGMENTS = 5  # of an exchange: text before the question, question, text between, answer, its end
_Run = tuple[int, str | int]  # where it starts in the text; ordinary text, or the id of a control token


def is_control(token: dict[str, Any], fixed: str) -> bool:
    """Returns whether no text from outside may yield an added token.

    Args:
        token: As in a backend's `added_tokens`.
        fixed: The text of the prompt. A token in it is a control token although it is not declared special, unless it
            is a word or white space.
    """
    content: str = token["content"]
    return token["special"] or (content in fixed and not content.isalnum() and not content.isspace())


def is_trusted(place: int) -> bool:
    """Returns whether the segment at a place of a row is text of the prompt."""
    return place % SEGMENTS % 2 == 0


class WholeTextEncoder:
    """Encodes texts made of trusted segments, with control tokens, and of segments from outside, without.

    Args:
        backend: A tokenizers backend as JSON, as by `Tokenizer.to_str`.
        fixed: The texts of the prompt.
    """

    def __init__(self, backend: str, fixed: Iterable[str]) -> None:
        self._settings, self._model = split_backend(backend)
        added, together = self._settings["added_tokens"], "\n".join(fixed)
        self._control = {token["content"]: token for token in added if is_control(token, together)}
        # Offsets are as the text is: a post-processor may leave out white space.
        self._settings |= {"post_processor": None, "padding": None, "truncation": None}
        for token in self._control.values():
            token["special"] = True
        self.tokenizer = self._make_tokenizer()
        self._unknown = self._find_unknown(together)
        ids = [token["id"] for token in self._control.values() if token["content"] != self._unknown]
        self._control_table = np.zeros(max(ids, default=0) + 2, bool)  # the last entry is of all ids above
        self._control_table[ids] = True
        self._swallows = {token["id"]: token["content"] for token in self._control.values() if token["rstrip"]}
        self._find = re.compile("|".join(map(re.escape, sorted(self._control, key=len, reverse=True))) or "(?!)")
        self._listed: dict[str, list[int]] = {}  # the control tokens of trusted segments

    def fork(self) -> WholeTextEncoder:
        """Returns a copy that shares all but what it remembers of trusted segments."""
        other = copy(self)
        other._listed = {}
        return other

    def encode(self, rows: list[list[str]]) -> Iterator[list[np.ndarray]]:
        """Encodes consultations.

        Args:
            rows: For each its segments, `SEGMENTS` an exchange; those of the last may be fewer.

        Yields:
            For each row the ids of its segments, `[tokens]`, int64.
        """
        for start in range(0, len(rows), _TEXTS):
            part = rows[start : start + _TEXTS]
            texts = ["".join(row) for row in part]
            encodings = self.tokenizer.encode_batch(texts, add_special_tokens=False)
            yield from map(self._split, part, texts, encodings)

    def _split(self, row: list[str], text: str, encoding: Encoding) -> list[np.ndarray]:
        ids = np.array(encoding.ids, dtype=np.int64)
        offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        ends = np.cumsum([len(segment) for segment in row])
        cuts = self._cut(ids, offsets, text, ends)
        control = np.flatnonzero(self._is_control(ids))
        trusted = (segment for place, segment in enumerate(row) if is_trusted(place))
        expected = [token for segment in trusted for token in self._list_control(segment)]
        if ids[control].tolist() != expected:
            ids, offsets = self._encode_runs(row)
            cuts = self._cut(ids, offsets, text, ends)
        return [ids[start:end] for start, end in pairwise([0, *cuts.tolist(), len(ids)])]

    def _is_control(self, ids: np.ndarray) -> np.ndarray:
        return self._control_table[np.minimum(ids, len(self._control_table) - 1)]

    def _list_control(self, segment: str) -> list[int]:
        """The control tokens of a trusted segment."""
        if segment not in self._listed:
            ids = np.array([self._control[match.group()]["id"] for match in self._find.finditer(segment)], np.int64)
            self._listed[segment] = ids[self._is_control(ids)].tolist()
        return self._listed[segment]

    def _cut(self, ids: np.ndarray, offsets: np.ndarray, text: str, ends: np.ndarray) -> np.ndarray:
        """Returns the number of tokens up to the end of each segment but the last."""
        last = offsets[:, 1] - 1
        if self._swallows:  # the white space behind such a token is no part of it
            for place in np.flatnonzero(np.isin(ids, list(self._swallows))):
                start, end = offsets[place]
                last[place] = text.index(self._swallows[int(ids[place])], start, end)
        return np.searchsorted(np.maximum.accumulate(last), ends[:-1])

    # ------------------------------------------------------------------ texts that spell a control token

    def _encode_runs(self, row: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Encodes the text between the trusted control tokens by itself; returns ids and offsets."""
        ids, offsets = [np.empty(0, np.int64)], [np.empty((0, 2), np.int64)]
        for start, run in self._list_runs(row):
            if isinstance(run, int):
                token = self._token_of[run]
                ids.append(np.array([run]))
                offsets.append(np.array([[start, start + len(token)]]))
                continue
            encoding = self._splitting[start > 0].encode(run, add_special_tokens=False)
            encoded = np.array(encoding.ids, dtype=np.int64)
            # Where the model itself knows a control token as a word, even split text yields it: it is left out.
            kept = ~self._is_control(encoded)
            ids.append(encoded[kept])
            offsets.append(np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)[kept] + start)
        return np.concatenate(ids), np.concatenate(offsets)

    def _list_runs(self, row: list[str]) -> Iterator[_Run]:
        """Yields ordinary text and trusted control tokens in turn, without white space that a token swallows."""
        start = place = 0
        run, swallows = "", False
        for number, segment in enumerate(row):
            matches = self._find.finditer(segment) if is_trusted(number) else ()
            done = 0
            for match in matches:
                run += segment[done : match.start()]
                token = self._control[match.group()]
                yield from _strip(start, run, swallows, token["lstrip"])
                yield place + match.start(), token["id"]
                run, start, swallows, done = "", place + match.end(), token["rstrip"], match.end()
            run += segment[done:]
            place += len(segment)
        yield from _strip(start, run, swallows, False)

    @cached_property
    def _token_of(self) -> dict[int, str]:
        return {token["id"]: content for content, token in self._control.items()}

    @cached_property
    def _splitting(self) -> tuple[Tokenizer, Tokenizer]:
        """Two tokenizers that split control tokens: for the beginning of a text, and for what follows a token."""
        first = later = self._make_tokenizer()
        if replace_setting(self._settings, "prepend_scheme", "never", where="first"):
            later = self._make_tokenizer()
        for tokenizer in (first, later):
            tokenizer.encode_special_tokens = True
        return first, later

    def _make_tokenizer(self) -> Tokenizer:
        return Tokenizer.from_str(join_backend(self._settings, self._model))

    def _find_unknown(self, fixed: str) -> str | None:
        """The token of unknown characters, if text from outside may yield it."""
        ids = self.tokenizer.encode(_UNKNOWN, add_special_tokens=False).ids
        found = (content for content, token in self._control.items() if token["id"] in ids and content not in fixed)
        return next(found, None)


def _strip(start: int, run: str, left: bool, right: bool) -> Iterator[_Run]:
    """Yields a run without the white space that the tokens beside it swallow; none if it is empty then."""
    if left:
        start, run = start + len(run) - len(run.lstrip()), run.lstrip()
    run = run.rstrip() if right else run
    if run:
        yield start, run
