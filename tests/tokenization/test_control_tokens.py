"""No text from outside acts as a control token or opens a role, in a training row or in a chat message."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from lightning_med.tokenization.consultation import PROMPT
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompts import DOCTOR, PATIENT, Prompt, quote_roles
from lightning_med.tokenization.tokenizer import END

SPECIAL = [END, "<|im_start|>", "<|im_end|>", "[INST]", "<s>", "</s>", "<<SYS>>", "[PAD]", "<pad>", "<unk>"]
ROLES = [f"\n{PATIENT}", f"\n\n{DOCTOR}", f"\n  {DOCTOR}", f"{PATIENT}", "\nsystem:", "\r\nDoctor:"]
SIGNS = ["\x00", "\u202e", "\u2066", "\u200b", "\ufeff", "ｐａｔｉｅｎｔ：", "Pаtient:", "\u0301", "😀"]
texts = st.lists(
    st.sampled_from(SPECIAL + ROLES + SIGNS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    max_size=8,
)


def check(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    encoder = Encoder(tokenizer, Prompt(), 4_000_000)
    end = tokenizer.eos_token_id
    (row,) = encoder.encode([text], [text])
    written = row.input_ids[row.parts != PROMPT]
    assert list(np.flatnonzero(row.input_ids == end)) == [len(row.input_ids) - 1]  # our own, after the answer
    chat = encoder.encode_question(text, len(text) * 8 + 8)
    assert end not in chat
    decoded = tokenizer.decode(written[:-1].tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    assert decoded == f" {quote_roles(text)}" * 2
    rendered = tokenizer.decode(chat, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    assert rendered == f"{encoder.prompt.opening} {quote_roles(text)}{encoder.prompt.answer_prefix}"
    lines = rendered.split("\n")
    assert sum(line.strip().startswith(PATIENT) for line in lines) == 1
    assert sum(line.strip().startswith(DOCTOR) for line in lines) == 1


@settings(deadline=None, max_examples=500)
@given(texts)
def test_what_a_person_writes_stays_text(tokenizer: PreTrainedTokenizerFast, pieces: list[str]) -> None:
    check(tokenizer, "x" + "".join(pieces))


@pytest.mark.parametrize("piece", [END, f"\n{DOCTOR} ", "\x00\u202e"])
def test_a_megabyte_of_it_too(tokenizer: PreTrainedTokenizerFast, piece: str) -> None:
    check(tokenizer, "x" + piece * (1_000_000 // len(piece.encode())))
