"""Private data: found in many surface forms, never in a dose, a date or a laboratory value."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from lightning_med.privacy.mask import find_private, mask
from lightning_med.privacy.prefilter import NO_NAMES
from lightning_med.privacy.word_lists import is_ordinary
from tests.privacy.examples import ANSWERS, FREE, HELD, suspected


@pytest.mark.parametrize("front", ["", "I have pain. "])
@pytest.mark.parametrize(("text", "kind", "held"), HELD, ids=[text for text, *_ in HELD])
def test_private_data_is_found_whole(text: str, kind: str, held: str, front: str) -> None:
    found = find_private(front + text)
    assert [(one.kind, (front + text)[one.start : one.end]) for one in found] == [(kind, held)]
    assert suspected(front + text)
    assert mask(front + text)[1] == Counter({kind: 1})


@pytest.mark.parametrize("text", FREE, ids=FREE)
def test_medicine_is_left_alone(text: str) -> None:
    assert find_private(text) == []
    assert mask(text)[0] is text
    assert mask(text, answer=True)[0] is text


@pytest.mark.parametrize(("text", "left"), ANSWERS, ids=[text for text, _ in ANSWERS])
def test_greetings_and_signatures_leave_an_answer(text: str, left: str) -> None:
    assert mask(text, answer=True) == (left, mask(text)[1])


def test_a_question_keeps_its_form() -> None:
    text, counts = mask("Dear Mrs Smith, call 206-555-0142 or mail a@b.com. Thanks, Sarah")
    assert text == "Dear Mrs [NAME], call [PHONE] or mail [EMAIL]. Thanks, [NAME]"
    assert counts == {"NAME": 2, "PHONE": 1, "EMAIL": 1}


@pytest.mark.parametrize("piece", ["1", "1-", "a@", "dear ", "Dear Ann ", "(", "a.", "at ", "4111 ", "http://", "Hi "])
def test_a_cell_of_a_million_signs_ends(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    mask(text)
    mask(text, answer=True)


def test_the_import_waits_for_no_library() -> None:
    heavy = ("phonenumbers", "stdnum", "torch", "pandas")
    code = f"import sys, lightning_med.privacy.mask; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_words_the_filter_stops_at_are_no_names() -> None:
    assert [word for word in NO_NAMES.split() if not is_ordinary(word)] == []
