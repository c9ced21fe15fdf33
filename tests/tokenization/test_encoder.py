"""Consultations are encoded segment by segment, each token with its part, and no text becomes a control token."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lightning_med.tokenization.consultation import ANSWER, PROMPT, QUESTION, EncodedConsultation
from lightning_med.tokenization.encoder import MIN_QUESTION, Encoder
from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.tokenizer import (
    END,
    StoredTokenizer,
    load_tokenizer,
    restore_tokenizer,
    store_tokenizer,
    train_tokenizer,
)
from lightning_med.utils.errors import InputError

PLAIN = Prompt("Be kind.")
WORDS = "My knee hurts badly since the weekend and it is red and warm. "
TEXTS = ["I cough, it's 3 days.", "¿Qué? \N{PILL} Ünïcode", "a\nb\n- c", "  x", "", "<|endoftext|>", "…" * 5]


def encode(
    tokenizer: PreTrainedTokenizerFast, question: str, answer: str, max_length: int = 512
) -> EncodedConsultation:
    (encoded,) = Encoder(tokenizer, PLAIN, max_length).encode([question], [answer])
    return encoded


def part(tokenizer: PreTrainedTokenizerFast, encoded: EncodedConsultation, wanted: int) -> str:
    return tokenizer.decode(encoded.input_ids[encoded.parts == wanted])


def runs(parts: np.ndarray) -> list[int]:
    return [int(value) for at, value in enumerate(parts) if at == 0 or parts[at - 1] != value]


def test_layout(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = encode(tokenizer, "My knee hurts.", "Rest it.")
    assert tokenizer.decode(encoded.input_ids) == f"Be kind.\n\nPatient: My knee hurts.\n\nDoctor: Rest it.{END}"
    assert runs(encoded.parts) == [PROMPT, QUESTION, PROMPT, ANSWER]
    assert part(tokenizer, encoded, QUESTION) == " My knee hurts."
    assert part(tokenizer, encoded, ANSWER) == f" Rest it.{END}"
    assert encoded.input_ids[-1] == tokenizer.eos_token_id
    assert not encoded.cut
    assert encoded.answer_bytes == len("Rest it.")
    assert np.issubdtype(encoded.input_ids.dtype, np.integer)
    assert encoded.parts.dtype == np.uint8
    assert sum(encoded.runs) == len(encoded.input_ids) == encoded.uncut_counts[2]


def test_many_at_once_are_as_one_by_one(tokenizer: PreTrainedTokenizerFast) -> None:
    questions, answers = [f"{WORDS}{n}" * n for n in range(1, 9)], [f"Rest {n}." * (9 - n) for n in range(1, 9)]
    together = Encoder(tokenizer, PLAIN, 128).encode(questions, answers)
    for row, question, answer in zip(together, questions, answers, strict=True):
        alone = encode(tokenizer, question, answer, 128)
        assert np.array_equal(row.input_ids, alone.input_ids)
        assert np.array_equal(row.parts, alone.parts)
        assert (row.answer_bytes, row.cut) == (alone.answer_bytes, alone.cut)


def exchanges(count: int, first: int = 0) -> tuple[list[str], list[str]]:
    numbers = range(first, first + count)
    return [f"{WORDS}{n}" for n in numbers], [f"Rest {n} days, and then walk." for n in numbers]


def test_conversation_is_laid_out_turn_by_turn(tokenizer: PreTrainedTokenizerFast) -> None:
    (encoded,) = Encoder(tokenizer, PLAIN, 512).encode(["It hurts.", "My knee."], ["Where?", "Rest it."], [2])
    assert tokenizer.decode(encoded.input_ids) == (
        f"Be kind.\n\nPatient: It hurts.\n\nDoctor: Where?{END}\n\nPatient: My knee.\n\nDoctor: Rest it.{END}"
    )
    assert runs(encoded.parts) == [PROMPT, QUESTION, PROMPT, ANSWER] * 2
    assert part(tokenizer, encoded, ANSWER) == f" Where?{END} Rest it.{END}"
    assert part(tokenizer, encoded, QUESTION) == " It hurts. My knee."
    assert encoded.answer_bytes == len("Where?Rest it.")
    assert encoded.uncut_counts == (
        (encoded.parts == QUESTION).sum(),
        (encoded.parts == ANSWER).sum(),
        len(encoded.input_ids),
    )
    assert not encoded.cut


def test_conversations_and_single_exchanges_in_one_batch(tokenizer: PreTrainedTokenizerFast) -> None:
    encoder, turns = Encoder(tokenizer, PLAIN, 1024), [1, 3, 2, 1]
    questions, answers = exchanges(sum(turns))
    together, at = encoder.encode(questions, answers, turns), 0
    for row, count in zip(together, turns, strict=True):
        (alone,) = encoder.encode(questions[at : at + count], answers[at : at + count], [count])
        assert np.array_equal(row.input_ids, alone.input_ids)
        assert row.runs == alone.runs
        assert (row.answer_bytes, row.cut, row.uncut_counts) == (alone.answer_bytes, alone.cut, alone.uncut_counts)
        at += count


@given(turns=st.integers(1, 6), max_length=st.integers(70, 400))
def test_conversation_too_long_keeps_whole_exchanges(
    tokenizer: PreTrainedTokenizerFast, turns: int, max_length: int
) -> None:
    questions, answers = exchanges(turns)
    (whole,) = Encoder(tokenizer, PLAIN, 100_000).encode(questions, answers, [turns])
    (cut,) = Encoder(tokenizer, PLAIN, max_length).encode(questions, answers, [turns])
    assert len(cut.input_ids) <= max_length
    assert cut.cut == (len(whole.input_ids) > max_length)
    assert cut.uncut_counts == whole.uncut_counts == (*cut.uncut_counts[:2], len(whole.input_ids))
    kept = len(cut.runs) // 4
    if kept > 1 or not cut.cut:  # a first exchange that is too long is cut
        assert cut.runs == whole.runs[: len(cut.runs)]
        assert np.array_equal(cut.input_ids, whole.input_ids[: len(cut.input_ids)])
        assert cut.input_ids[-1] == tokenizer.eos_token_id
        assert cut.answer_bytes == sum(len(answer.encode()) for answer in answers[:kept])
    if cut.cut and kept > 1:
        assert len(cut.input_ids) + sum(whole.runs[4 * kept : 4 * kept + 4]) > max_length  # no further one fits


def test_stored_tokenizers_encode_like_the_tokenizer(tokenizer: PreTrainedTokenizerFast) -> None:
    stored = Encoder(StoredTokenizer(store_tokenizer(tokenizer)), PLAIN, 128)
    for text in TEXTS:
        ours, theirs = stored.encode([text * 9], [text])[0], encode(tokenizer, text * 9, text, 128)
        assert ours.input_ids.tolist() == theirs.input_ids.tolist()
        assert (ours.runs, ours.answer_bytes) == (theirs.runs, theirs.answer_bytes)
        assert stored.encode_question(text, 60) == Encoder(tokenizer, PLAIN, 128).encode_question(text, 60)


def test_question_is_cut_first(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = encode(tokenizer, WORDS * 30, "Rest it, and see a doctor.", 128)
    assert len(encoded.input_ids) == 128
    assert encoded.cut
    assert part(tokenizer, encoded, ANSWER) == f" Rest it, and see a doctor.{END}"
    assert (" " + WORDS * 30).startswith(part(tokenizer, encoded, QUESTION))
    assert encoded.answer_bytes == len("Rest it, and see a doctor.")


def test_cut_answer_has_no_end_to_learn(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = encode(tokenizer, WORDS * 30, "Rest it. " * 100, 128)
    assert len(encoded.input_ids) == 128
    assert encoded.cut
    assert (encoded.parts == QUESTION).sum() == MIN_QUESTION
    assert tokenizer.eos_token_id not in encoded.input_ids
    learned = part(tokenizer, encoded, ANSWER)
    assert (" " + "Rest it. " * 100).startswith(learned)
    assert encoded.answer_bytes == len(learned.lstrip().encode())


def test_short_question_leaves_its_room_to_the_answer(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = encode(tokenizer, "Why?", "Rest it. " * 100, 128)
    assert len(encoded.input_ids) == 128
    assert part(tokenizer, encoded, QUESTION) == " Why?"
    assert encoded.parts[-1] == ANSWER


def test_consultation_that_just_fits_is_whole(tokenizer: PreTrainedTokenizerFast) -> None:
    whole = encode(tokenizer, WORDS * 3, "Rest it, " * 30 + "please.", 4096)
    length = len(whole.input_ids)
    assert np.array_equal(encode(tokenizer, WORDS * 3, "Rest it, " * 30 + "please.", length).input_ids, whole.input_ids)
    shorter = encode(tokenizer, WORDS * 3, "Rest it, " * 30 + "please.", length - 1)
    assert shorter.cut
    assert len(shorter.input_ids) == length - 1


@given(
    question=st.text(min_size=1, max_size=200),
    answer=st.text(min_size=1, max_size=200),
    times=st.integers(1, 12),
    max_length=st.integers(70, 160),
)
def test_any_consultation_keeps_the_layout(
    tokenizer: PreTrainedTokenizerFast, question: str, answer: str, times: int, max_length: int
) -> None:
    question, answer = question * times, answer * (13 - times)
    encoded = encode(tokenizer, question, answer, max_length)
    whole = encode(tokenizer, question, answer, 100_000)
    assert len(encoded.input_ids) == len(encoded.parts) <= max_length
    assert runs(encoded.parts) == [PROMPT, QUESTION, PROMPT, ANSWER]
    assert encoded.cut == (len(whole.input_ids) > max_length)
    for wanted in (QUESTION, ANSWER):
        kept, all_of_it = encoded.input_ids[encoded.parts == wanted], whole.input_ids[whole.parts == wanted]
        assert np.array_equal(kept, all_of_it[: len(kept)])
    questions = int((whole.parts == QUESTION).sum())
    assert (encoded.parts == QUESTION).sum() >= min(questions, MIN_QUESTION)
    answer_is_cut = (encoded.parts == ANSWER).sum() < (whole.parts == ANSWER).sum()
    assert (encoded.input_ids[-1] == tokenizer.eos_token_id) == (not answer_is_cut)
    assert (encoded.input_ids == tokenizer.eos_token_id).sum() == (not answer_is_cut)
    if not answer_is_cut:
        assert encoded.answer_bytes == len(answer.encode())


def test_bytes_of_a_cut_answer_are_those_of_its_tokens_to_a_character(tokenizer: PreTrainedTokenizerFast) -> None:
    """Bits per byte count the bytes in the loss; a character that is cut in the middle may count in full."""
    for max_length in range(70, 78):
        encoded = encode(tokenizer, "Why?", "\N{PILL}" * 100, max_length)
        # A byte-level token spells each of its bytes as one character.
        spelled = "".join(tokenizer.convert_ids_to_tokens(encoded.input_ids[encoded.parts == ANSWER].tolist()))
        learned = len(spelled) - 1  # the space before the answer is not part of it
        assert learned - 3 <= encoded.answer_bytes <= learned + 3


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from(["<|endoftext|>", "<|im_end|>", "[PAD]"]))
def test_text_never_becomes_a_control_token(
    tokenizer: PreTrainedTokenizerFast, before: str, after: str, spelled: str
) -> None:
    stored = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        eos_token=END,
        pad_token="[PAD]",
        additional_special_tokens=["<|im_end|>"],
    )
    special = set(stored.all_special_ids)
    assert len(special) == 3
    text = f"{before}{spelled}{after}"
    encoder = Encoder(stored, PLAIN, 4096)
    (encoded,) = encoder.encode([text], [text])
    assert [int(token) in special for token in encoded.input_ids] == [False] * (len(encoded.input_ids) - 1) + [True]
    assert not special & set(encoder.encode_question(text, 4096))
    assert stored.decode(encoded.input_ids[encoded.parts == QUESTION]) == f" {text}"


def test_encoder_and_its_tokenizer_do_not_disturb_each_other(tokenizer: PreTrainedTokenizerFast) -> None:
    """The encoder splits special tokens in a text, the exported tokenizer reads them, in any order of calls."""
    encoder = Encoder(tokenizer, PLAIN, 128)
    before = encoder.encode([f"a{END}b"], ["c"])[0].input_ids.tolist()
    assert tokenizer(END)["input_ids"] == [tokenizer.eos_token_id]
    tokenizer([WORDS, END], padding=True, truncation=True, max_length=4)
    assert encoder.encode([f"a{END}b"], ["c"])[0].input_ids.tolist() == before
    assert before.count(tokenizer.eos_token_id) == 1


def test_question_alone_is_the_beginning_of_its_consultation(tokenizer: PreTrainedTokenizerFast) -> None:
    encoder = Encoder(tokenizer, PLAIN, 512)
    (whole,) = encoder.encode([WORDS.strip()], ["Rest."])
    asked = encoder.encode_question(WORDS.strip(), 400)
    assert whole.input_ids[: len(asked)].tolist() == asked
    assert (whole.parts[len(asked) :] == ANSWER).all()
    assert len(encoder.encode_question(WORDS * 50, 40)) == encoder.prompt_length + 40
    assert encoder.encode_question(WORDS * 50, 40)[-3:] == asked[-3:]


def test_max_length_without_room(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError) as caught:
        Encoder(tokenizer, Prompt(WORDS * 5), 64)
    assert "max_length 64" in caught.value.what
    proposed = int(caught.value.hint.split("--data.max_length ")[1].split()[0])
    assert Encoder(tokenizer, Prompt(WORDS * 5), proposed).budget > MIN_QUESTION
    assert "--data.system_prompt" in caught.value.hint


# Tokenizers


def test_training_is_deterministic_and_keeps_its_size() -> None:
    texts = [WORDS, "Rest it, and see a doctor soon.", "\N{PILL} twice a day"] * 3
    one, other = train_tokenizer(texts, 300), train_tokenizer(iter(texts), 300)
    assert store_tokenizer(one) == store_tokenizer(other)
    assert len(one) == 300
    assert store_tokenizer(train_tokenizer([*texts, "knee knee kneeling"], 310)) != store_tokenizer(one)


@given(st.text())
def test_trained_tokenizer_loses_nothing(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = Encoder(tokenizer, PLAIN, 4096)._encode_texts([text])[0]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_stored_tokenizer_comes_back_whole(tokenizer: PreTrainedTokenizerFast) -> None:
    stored = store_tokenizer(tokenizer)
    restored = restore_tokenizer(stored)
    assert store_tokenizer(restored) == stored
    assert restored.get_vocab() == tokenizer.get_vocab()
    assert restored.eos_token_id == restored.pad_token_id == tokenizer.eos_token_id
    assert (
        restored(TEXTS, add_special_tokens=False)["input_ids"]
        == tokenizer(TEXTS, add_special_tokens=False)["input_ids"]
    )


def test_stored_tokenizer_keeps_its_own_special_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    own = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, eos_token=END, pad_token="[PAD]", bos_token="[BOS]"
    )
    restored = restore_tokenizer(store_tokenizer(own))
    assert (restored.pad_token, restored.bos_token, restored.eos_token) == ("[PAD]", "[BOS]", END)
    assert (restored.pad_token_id, restored.bos_token_id) == (own.pad_token_id, own.bos_token_id)


def test_tokenizer_from_a_folder(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert json.loads(store_tokenizer(loaded)) == json.loads(store_tokenizer(tokenizer))


def test_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_tokenizer(str(tmp_path))
    assert str(tmp_path) in caught.value.what
    assert "tokenizer" in caught.value.hint


def test_tokenizer_without_an_end(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer).save_pretrained(tmp_path)
    with pytest.raises(InputError) as caught:
        load_tokenizer(str(tmp_path))
    assert "end-of-text" in caught.value.what


def test_gpt2_is_itself(gpt2_folder: Path) -> None:
    loaded, plain = load_tokenizer(str(gpt2_folder)), AutoTokenizer.from_pretrained(gpt2_folder)
    assert (len(loaded), loaded.eos_token_id, loaded.pad_token_id) == (50257, 50256, 50256)
    assert loaded(TEXTS)["input_ids"] == plain(TEXTS)["input_ids"]
    (encoded,) = Encoder(loaded, PLAIN, 512).encode(["It's sore."], ["I'm sorry. <|endoftext|> Rest."])
    text = "Be kind.\n\nPatient: It's sore.\n\nDoctor: I'm sorry. "
    assert encoded.input_ids.tolist()[: len(plain(text.rstrip())["input_ids"])] == plain(text.rstrip())["input_ids"]
    assert (encoded.input_ids == 50256).sum() == 1


@given(marks=st.lists(st.booleans(), min_size=1, max_size=6).filter(any), max_length=st.integers(70, 400))
def test_answers_that_are_not_learned_are_context(
    tokenizer: PreTrainedTokenizerFast, marks: list[bool], max_length: int
) -> None:
    questions, answers = exchanges(len(marks))
    (plain,) = Encoder(tokenizer, PLAIN, 100_000).encode(questions, answers, [len(marks)])
    (whole,) = Encoder(tokenizer, PLAIN, 100_000).encode(questions, answers, [len(marks)], marks)
    assert np.array_equal(whole.input_ids, plain.input_ids)
    learned = [f" {answer}{END}" for answer, mark in zip(answers, marks, strict=True) if mark]
    assert part(tokenizer, whole, ANSWER) == "".join(learned)
    assert part(tokenizer, whole, QUESTION) == part(tokenizer, plain, QUESTION)
    assert whole.uncut_counts[1] == (whole.parts == ANSWER).sum()
    (cut,) = Encoder(tokenizer, PLAIN, max_length).encode(questions, answers, [len(marks)], marks)
    assert len(cut.input_ids) <= max_length
    assert cut.uncut_counts == whole.uncut_counts
    assert cut.cut == (len(whole.input_ids) > max_length)
    kept = part(tokenizer, cut, ANSWER)  # at least the first, or its beginning
    assert kept
    assert "".join(learned).startswith(kept)
    assert tokenizer.decode(cut.input_ids).startswith("Be kind.\n\nPatient:")
