"""Exposure of canaries."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.evaluation.memory.canaries import (
    OTHERS,
    Canary,
    Score,
    draw_candidates,
    measure_canary,
    read_canaries,
    summarize_canaries,
)
from lightning_med.utils.errors import InputError

KNOWN = Canary("Which leaflet?", "It has the number 482913, at the door.", "482913")
UNKNOWN = Canary("Which room?", "Go to room kQ-77 on the left.", "kQ-77")


def measure_canaries(canaries: list[Canary], score: Score, **settings: int) -> dict[str, Any]:
    return summarize_canaries([measure_canary(canary, row, score, **settings) for row, canary in enumerate(canaries)])


def score_one_secret(pairs: list[tuple[str, str]]) -> list[float]:
    """Losses of a model that knows one secret and prefers the other one to a tenth of its candidates."""
    losses = [1.0 + index % 10 / 10 for index in range(len(pairs))]
    for index, (_, answer) in enumerate(pairs):
        if KNOWN.secret in answer:
            losses[index] = 0.5
        elif UNKNOWN.secret in answer:
            losses[index] = 1.85
    return losses


def test_a_known_secret_has_the_highest_exposure() -> None:
    result = measure_canaries([KNOWN, UNKNOWN], score_one_secret)
    known, unknown = result["canaries"]
    assert known == {"canary": 0, "rank": 1, "candidates": 1000, "exposure": math.log2(1000), "most_likely": True}
    assert unknown["rank"] == 900  # the other 899 of losses 1.0 to 1.8 are more likely
    assert unknown["exposure"] == pytest.approx(math.log2(1000 / 900))
    assert result["mean_exposure"] == pytest.approx((math.log2(1000) + math.log2(1000 / 900)) / 2)
    assert result["upper_limit"] == pytest.approx(math.log2(1000))
    assert result["expected"] == pytest.approx(1 / math.log(2), abs=0.02)
    assert result["most_likely"] == 0.5


def test_model_that_tells_none_apart_has_no_exposure() -> None:
    result = measure_canaries([KNOWN], lambda pairs: [3.0] * len(pairs), count=50)
    assert result["canaries"][0]["rank"] == 51
    assert result["mean_exposure"] == 0.0


def test_candidates_differ_from_the_answer_in_the_secret_alone() -> None:
    asked: list[tuple[str, str]] = []

    def score(pairs: list[tuple[str, str]]) -> list[float]:
        asked.extend(pairs)
        return [float(index) for index in range(len(pairs))]

    first = measure_canaries([UNKNOWN], score, seed=3)
    pairs, asked = asked, []
    assert measure_canaries([UNKNOWN], score, seed=3) == first
    assert asked == pairs
    assert len(set(pairs)) == len(pairs) == OTHERS + 1
    assert pairs[0] == (UNKNOWN.question, UNKNOWN.answer)
    assert all(re.fullmatch(r"Go to room [a-z][A-Z]-\d\d on the left\.", answer) for _, answer in pairs)
    measure_canaries([UNKNOWN], score, seed=4)
    assert asked[len(pairs) :] != pairs


@given(st.text("0aZ-é", min_size=1, max_size=5), st.integers(1, 40), st.integers(0, 5))
def test_candidates_have_the_shape_of_the_secret(secret: str, count: int, seed: int) -> None:
    others = draw_candidates(secret, count, seed)
    shapes = {"0": r"\d", "a": "[a-z]", "Z": "[A-Z]", "-": "-", "é": "é"}
    possible = math.prod({"0": 10, "a": 26, "Z": 26}.get(char, 1) for char in secret) - 1
    assert len(others) == len(set(others)) == min(count, possible)
    assert secret not in others
    assert all(re.fullmatch("".join(shapes[char] for char in secret), other) for other in others)


def test_short_secret_is_compared_with_all_others() -> None:
    assert sorted(draw_candidates("7", 999, 0)) == list("012345689")
    assert measure_canaries([Canary("q", "a 7", "7")], lambda pairs: range(len(pairs)))["upper_limit"] == math.log2(10)


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def test_files_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", {**vars(KNOWN), "more": 1}, "", vars(UNKNOWN))
    assert read_canaries(path) == [KNOWN, UNKNOWN]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Line 2 of .* is not JSON"),
        ([1], "Line 2 of .* is no object"),
        ({"question": "q", "answer": "a 12"}, "Line 2 of .* has no text 'secret'"),
        ({"question": 5, "answer": "a 12", "secret": "12"}, "Line 2 of .* has no text 'question'"),
        ({"question": "q", "answer": "a 12", "secret": "13"}, "Line 2 of .*no part of the answer"),
        ({"question": "q 12", "answer": "a 12", "secret": "12"}, "Line 2 of .*the question has the secret"),
        ({"question": "q", "answer": "a -é", "secret": "-é"}, "Line 2 of .*neither digits nor letters"),
        (vars(KNOWN), "Line 2 of .* repeats"),
    ],
)
def test_malformed_lines_are_refused(tmp_path: Path, line: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_canaries(write(tmp_path / "c.jsonl", vars(KNOWN), line))


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: None, "cannot be read"),
        (lambda path: path.write_text("\n"), "has no canary"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "cannot be read"),
        (lambda path: path.mkdir(), "cannot be read"),
    ],
)
def test_files_without_canaries_are_refused(tmp_path: Path, prepare: Callable[[Path], None], message: str) -> None:
    prepare(tmp_path / "c.jsonl")
    with pytest.raises(InputError, match=message):
        read_canaries(tmp_path / "c.jsonl")
