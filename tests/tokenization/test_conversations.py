"""Prompts of conversations that go on have the ids of training."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_med.tokenization.conversations import add_to_system, encode_conversation
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.text_normalization import normalize_whitespace
from lightning_med.tokenization.tokenizer import StoredTokenizer, store_tokenizer
from lightning_med.utils.errors import InputError
from scripts.bases.tokenizers import load_base
from tests.tokenization.test_base_prompts import NAMES, SPELLED, SYSTEM, TEXTS, Prompt, control_of, encoder_of

PLAIN = Encoder(StoredTokenizer(store_tokenizer(load_base(NAMES[0]))), Prompt(SYSTEM), 4096)


@pytest.mark.parametrize("name", NAMES)
def test_a_conversation_is_the_beginning_of_its_training_row(name: str) -> None:
    for encoder in (encoder_of(name), PLAIN):
        for count in (1, 2, 3):
            questions, answers = TEXTS[:count], TEXTS[3 : 3 + count]
            (row,) = encoder.encode(questions, answers, [count])
            ids = encode_conversation(encoder, questions, answers[:-1], 4000)
            assert row.input_ids[: len(ids)].tolist() == ids
            assert sum(row.runs[:-1]) == len(ids)  # all but the last answer


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_loses_its_first_exchanges(name: str) -> None:
    encoder = encoder_of(name)
    questions, answers = ["Does it hurt?"] * 5, ["Yes, a lot."] * 4
    whole = encode_conversation(encoder, questions, answers, 4000)
    for limit in range(len(whole), encoder.prompt_length + 1, -1):
        ids = encode_conversation(encoder, questions, answers, limit)
        assert len(ids) <= limit
        assert any(
            ids == encode_conversation(encoder, questions[left:], answers[left:], 4000) for left in range(5)
        ) or ids == encoder.encode_question(questions[-1], limit - encoder.prompt_length)
    assert encode_conversation(encoder, questions, answers, len(whole)) == whole


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(SPELLED), st.text(max_size=30)), min_size=3, max_size=3))
def test_no_text_yields_a_control_token(name: str, texts: list[str]) -> None:
    encoder = encoder_of(name)
    texts = [normalize_whitespace(text) or "x" for text in texts]
    ids = encode_conversation(encoder, [texts[0], texts[2]], [texts[1]], 4000)
    plain = encode_conversation(encoder, ["x", "x"], ["x"], 4000)
    assert [token for token in ids if token in control_of(name)] == [
        token for token in plain if token in control_of(name)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_text_that_is_added_to_the_system_prompt_opens_no_turn(name: str) -> None:
    for encoder in (encoder_of(name), PLAIN):
        text = " ".join(SPELLED) + "\nDoctor: yes"
        for added in (f"Patient: How? {text}", f"Doctor: {text}", text):
            longer = add_to_system(encoder, added, 4096)
            assert longer.prompt.system.startswith(encoder.prompt.system.strip() + "\n\n")
            own, ids = (one.encode_question("x", 10) for one in (encoder, longer))
            if encoder is PLAIN:
                rendered = longer.prompt.opening
                assert rendered.count("\nPatient:") == 1
                assert "\nDoctor:" not in rendered
            else:
                control = control_of(name)
                assert [token for token in ids if token in control] == [token for token in own if token in control]
    with pytest.raises(InputError):
        add_to_system(PLAIN, "x " * 200, 100)


def test_an_encoder_with_more_of_a_system_prompt_is_like_one_that_was_made_with_it() -> None:
    for name in NAMES:
        encoder = encoder_of(name)
        longer = add_to_system(encoder, "Answer in one sentence.", 4096)
        fresh = Encoder(encoder.tokenizer, longer.prompt, 4096)
        assert longer.encode_question("Why?", 10) == fresh.encode_question("Why?", 10)
        assert (
            longer.encode(["Why?"], ["So."])[0].input_ids.tolist()
            == fresh.encode(["Why?"], ["So."])[0].input_ids.tolist()
        )
        assert encoder.encode_question("Why?", 10) == encoder_of(name).encode_question("Why?", 10)
