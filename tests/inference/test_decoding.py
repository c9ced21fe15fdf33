"""Decoding settings: what is punished or banned in an answer, what is sampled, and that sampled answers repeat."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast

from lightning_med.data.module import DialogueDataModule
from lightning_med.inference.generation import Decoding, generate_answers
from lightning_med.inference.logits_processors import (
    AnswerNGrams,
    AnswerRepetitionPenalty,
    SeededDraw,
    find_word_starts,
)
from lightning_med.tokenization.encoder import Encoder
from lightning_med.utils.errors import InputError
from scripts.bases.tokenizers import load_base
from tests import tiny
from tests.inference.test_generation import QUESTIONS

SAMPLED: dict[str, Any] = {"max_new_tokens": 16, "temperature": 1.2, "top_p": 0.95}


@pytest.mark.parametrize(
    "wrong",
    [{"min_p": -0.1}, {"min_p": 1.5}, {"repetition_penalty": 0.5}, {"repetition_penalty": 9}, {"sampling_seed": -1}],
)
def test_a_setting_outside_its_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Decoding(**wrong)


# ------------------------------------------------------------------ repetition


def test_only_words_of_the_answer_are_punished() -> None:
    punished = torch.tensor([True, True, True, False, True, False])
    penalty = AnswerRepetitionPenalty(2.0, 2, punished)
    ids = torch.tensor([[0, 1, 2, 3, 3], [4, 4, 1, 1, 1]])  # the first two columns are the prompts
    scores = torch.tensor([[4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0], [-4.0] * 7])  # one more than the tokenizer has
    assert penalty(ids, scores).tolist() == [[4, 4, 2, 4, 4, 4, 4], [-4, -8, -4, -4, -4, -4, -4]]


def test_sequences_of_the_prompt_are_not_banned_from_the_answer() -> None:
    ids, scores = torch.tensor([[5, 6, 7, 1, 2, 1]]), torch.zeros(1, 8)
    assert AnswerNGrams(2, 3)(ids, scores).isinf().nonzero().tolist() == [[0, 2]]
    assert not AnswerNGrams(2, 3)(torch.tensor([[5, 6, 7, 6]]), scores).isinf().any()


@pytest.mark.parametrize("base", ["llama3", "llama2", "qwen2", "zephyr"])
def test_the_penalty_spares_ends_punctuation_figures_and_the_rest_of_a_word(base: str) -> None:
    tokenizer: PreTrainedTokenizerFast = load_base(base)
    text = "the patient, of course. Take 500 mg of this; (see) a doctor!\n"
    stops = [tokenizer.eos_token_id]
    punished = find_word_starts(tokenizer, stops)
    assert len(punished) == len(tokenizer)
    assert not punished[stops].any()
    found = {tokenizer.convert_ids_to_tokens(number) for number in punished.nonzero().flatten().tolist()}
    assert found
    assert all(token[0] in "Ġ▁" for token in found)
    spared = [i for i in tokenizer(text, add_special_tokens=False)["input_ids"] if not punished[i]]
    decoded = tokenizer.decode(spared)
    assert all(mark in decoded for mark in (".", ",", ";", "(", "!", "5", "0", "\n"))


def test_an_end_token_that_is_a_word_is_not_punished(encoder: Encoder) -> None:
    word = int(find_word_starts(encoder.tokenizer, []).nonzero()[0])
    assert not find_word_starts(encoder.tokenizer, [word])[word]


def test_a_gap_in_the_ids_of_a_tokenizer_is_no_word(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, beyond = encoder.tokenizer, len(encoder.tokenizer) + 5
    whole, convert = find_word_starts(tokenizer, [beyond]), tokenizer.convert_ids_to_tokens
    gap = int(whole.nonzero()[0])
    monkeypatch.setattr(
        tokenizer, "convert_ids_to_tokens", lambda ids: [None if i == gap else convert(i) for i in ids], raising=False
    )
    assert (find_word_starts(tokenizer, [beyond]) != whole).nonzero().flatten().tolist() == [gap]


def test_a_repetition_penalty_chooses_another_word(
    network: Any,
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But not for words that only the question has."""
    first, second = find_word_starts(encoder.tokenizer, encoder.stops).nonzero().flatten()[:2].tolist()
    forward = network.forward

    @functools.wraps(forward)
    def prefer_two(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.logits[:] = 0.0
        output.logits[..., first], output.logits[..., second] = 2.0, 1.5
        return output

    monkeypatch.setattr(network, "forward", prefer_two)
    words = [encoder.tokenizer.decode([number]) for number in (first, second)]
    settings = {"max_new_tokens": 2, "no_repeat_ngram_size": 0}
    question = f"Why{words[0]}?"
    assert generate_answers(network, encoder, [question], Decoding(**settings)) == [f"{words[0] * 2}".strip()]
    decoding = Decoding(**settings, repetition_penalty=1.5)
    assert generate_answers(network, encoder, [question], decoding) == ["".join(words).strip()]


def test_settings_of_the_network_itself_change_no_answer(network: Any, encoder: Encoder) -> None:
    """A base's `generation_config.json` may name a penalty, sampling or a length."""
    decoding = Decoding(max_new_tokens=16, no_repeat_ngram_size=0)
    before = generate_answers(network, encoder, QUESTIONS, decoding)
    network.generation_config = own = GenerationConfig(
        do_sample=True, temperature=3.0, repetition_penalty=1.9, no_repeat_ngram_size=1, min_new_tokens=15
    )
    assert generate_answers(network, encoder, QUESTIONS, decoding) == before
    assert network.generation_config is own


# ------------------------------------------------------------------ sampling


def test_sampled_answers_repeat_whatever_stands_beside_them(network: Any, encoder: Encoder) -> None:
    decoding = Decoding(**SAMPLED)
    together = generate_answers(network, encoder, QUESTIONS, decoding)
    torch.manual_seed(99)
    alone = [generate_answers(network, encoder, [question], decoding)[0] for question in reversed(QUESTIONS)]
    assert together == alone[::-1]
    assert together != generate_answers(network, encoder, QUESTIONS, Decoding(**SAMPLED, sampling_seed=1))


def test_two_questions_are_not_sampled_with_the_same_numbers() -> None:
    draw = SeededDraw(0, [[1, 2], [1, 3], [1, 2]], 1, 2)
    first, second, third = draw(torch.zeros(3, 2), torch.zeros(3, 500)).argmax(-1).tolist()
    assert first == third != second


def test_draws_follow_the_probabilities() -> None:
    count, wanted = 4000, torch.tensor([0.5, 0.0, 0.3, 0.15, 0.05])
    draw = SeededDraw(3, [[number] for number in range(count)], 1, 1)
    drawn = draw(torch.zeros(count, 1), wanted.log().expand(count, -1)).argmax(-1)
    shares = torch.bincount(drawn, minlength=5) / count
    assert shares[1] == 0
    assert (shares - wanted).abs().max() < 0.03


def test_a_high_min_p_leaves_the_likeliest_token_alone(network: Any, encoder: Encoder) -> None:
    greedy = generate_answers(network, encoder, QUESTIONS, Decoding(max_new_tokens=16))
    sampled = generate_answers(network, encoder, QUESTIONS, Decoding(**SAMPLED, min_p=1.0))
    assert sampled == greedy != generate_answers(network, encoder, QUESTIONS, Decoding(**SAMPLED))


# ------------------------------------------------------------------ where settings come from and go


def test_a_model_decodes_with_the_settings_of_these_names() -> None:
    values = {"max_new_tokens": 9, "temperature": 0.7, "top_p": 0.8, "no_repeat_ngram_size": 4}
    values |= {"min_p": 0.1, "repetition_penalty": 1.2, "sampling_seed": 5}
    assert vars(tiny.language_model(**values).decoding) == values


def test_the_generation_config_names_what_transformers_has(data: DialogueDataModule) -> None:
    tokenizer, stops = data.encoder.tokenizer, data.encoder.stops
    config = Decoding(9, 0.7, min_p=0.1, repetition_penalty=2).make_generation_config(tokenizer, stops)
    assert (config.do_sample, config.min_p, config.max_new_tokens) == (True, 0.1, 9)
    assert isinstance(config.repetition_penalty, float)  # transformers refuses an integer
    plain = Decoding(min_p=0.1).make_generation_config(tokenizer, stops)
    assert (plain.min_p, plain.repetition_penalty) == (None, None)
