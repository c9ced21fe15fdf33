"""Answers do not depend on the batch, stop at the end token and contain no turn of the patient."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_med.inference.generation import Decoding, generate_answers, generate_with_ends
from lightning_med.model.causal_lm import build_from_scratch
from lightning_med.model.execution import get_context_length
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompt_choice import choose_prompt
from lightning_med.tokenization.tokenizer import restore_tokenizer, store_tokenizer
from scripts.bases.tokenizers import load_base
from tests import tiny

QUESTIONS = [
    "Why?",
    "My tongue is sore and red since monday, what can I do about it at night?",
    "Cough " * 12,
    "é 😀 ?",
]


def force_tokens(network: Any, script: Callable[[int], list[int]]) -> list[int]:
    """Makes the network generate given tokens, `script(step)` per row. Returns a list whose item counts the steps."""
    forward, steps = network.forward, [0]

    @functools.wraps(forward)
    def scripted(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.logits[:, -1] = -1e4
        for row, token in enumerate(script(steps[0])):
            output.logits[row, -1, token] = 0.0
        steps[0] += 1
        return output

    network.forward = scripted
    return steps


def make_script(encoder: Encoder, texts: list[str], end: bool = True) -> Callable[[int], list[int]]:
    """A script that generates one text per row, then the end token."""
    eos = encoder.tokenizer.eos_token_id
    rows = [encoder.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    filler = encoder.tokenizer(" a", add_special_tokens=False)["input_ids"][0]
    return lambda step: [row[step] if step < len(row) else eos if end else filler for row in rows]


def test_answers_side_by_side_are_those_given_one_by_one(network: Any, encoder: Encoder) -> None:
    decoding = Decoding(max_new_tokens=16)
    together = generate_answers(network, encoder, QUESTIONS, decoding)
    assert together == [generate_answers(network, encoder, [question], decoding)[0] for question in QUESTIONS]
    assert len(set(together)) > 1  # otherwise the comparison is meaningless


def test_the_same_question_gets_the_same_answer(network: Any, encoder: Encoder) -> None:
    decoding = Decoding(max_new_tokens=16)
    assert generate_answers(network, encoder, QUESTIONS, decoding) == generate_answers(
        network, encoder, QUESTIONS, decoding
    )


def test_a_temperature_samples(network: Any, encoder: Encoder) -> None:
    settings = {"max_new_tokens": 24, "temperature": 1.5, "top_p": 1.0}
    answers = {generate_answers(network, encoder, ["Why?"], Decoding(**settings, sampling_seed=n))[0] for n in range(4)}
    assert len(answers) > 1


def test_an_answer_is_over_at_the_end_token(network: Any, encoder: Encoder) -> None:
    steps = force_tokens(network, make_script(encoder, [" Drink warm tea.", " See a doctor, and rest your voice."]))
    answers = generate_answers(network, encoder, ["Why?", "How?"], Decoding(max_new_tokens=100, no_repeat_ngram_size=0))
    assert answers == ["Drink warm tea.", "See a doctor, and rest your voice."]
    assert steps[0] < 40


def test_an_answer_without_end_is_cut_at_max_new_tokens(network: Any, encoder: Encoder) -> None:
    steps = force_tokens(network, make_script(encoder, [" Rest"], end=False))
    (given_answer,) = generate_answers(network, encoder, ["Why?"], Decoding(max_new_tokens=10, no_repeat_ngram_size=0))
    assert steps[0] == 10
    assert given_answer.startswith("Rest")


def test_generation_stops_when_it_would_speak_for_the_patient(network: Any, encoder: Encoder) -> None:
    steps = force_tokens(network, make_script(encoder, [" Rest.\n\nPatient: Thank you doctor"], end=False))
    answers = generate_answers(network, encoder, ["Why?"], Decoding(max_new_tokens=100, no_repeat_ngram_size=0))
    assert answers == ["Rest."]
    assert steps[0] < 40


def test_an_answer_says_whether_it_ended_by_itself(network: Any, encoder: Encoder) -> None:
    texts = [" Rest.", " Rest.\n\nPatient: Thank you", " Rest, and then rest again, and rest on and on and on."]
    force_tokens(network, make_script(encoder, texts))
    decoding = Decoding(max_new_tokens=18, no_repeat_ngram_size=0)
    answers = generate_with_ends(network, encoder, ["Why?", "How?", "When?"], decoding)
    assert [answer.ended for answer in answers] == [True, False, False]
    assert answers[0].tokens == len(encoder.tokenizer(texts[0], add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize(
    ("base", "opening"),
    [
        ("llama3", "<|start_header_id|>"),
        ("llama3", "<|end_of_text|>"),
        ("llama3", "<|eot_id|>"),
        ("qwen2", "<|im_start|>"),
        ("zephyr", "\n<|user|>"),
        ("llama2", " [INST]"),
        ("plain_llama3", "\nDoctor:"),
        ("plain_qwen2", "!\n\nPatient:"),
    ],
)
def test_generation_stops_where_a_turn_of_the_bases_prompt_opens(base: str, opening: str) -> None:
    tokenizer = restore_tokenizer(store_tokenizer(load_base(base)))
    encoder = Encoder(tokenizer, choose_prompt(None, "", store_tokenizer(tokenizer)), 512)
    fields = {**tiny.NETWORK, "n_positions": 512}
    network = build_from_scratch(fields, len(tokenizer), encoder.stops[0], 0.0, 11).eval()
    stopped, going = f"Rest.{opening} and then, and then.", "Tell your Doctor: [I feel] <user> it is so, it is so."
    forward, decoding = network.forward, Decoding(max_new_tokens=150, no_repeat_ngram_size=0)
    steps = force_tokens(network, make_script(encoder, [stopped, stopped], end=False))
    answer = "Rest." + ("!" if "!" in opening else "")
    assert generate_answers(network, encoder, ["Why?", "How?"], decoding) == [answer, answer]
    assert steps[0] <= len(tokenizer(stopped, add_special_tokens=False)["input_ids"]) - 4
    network.forward = forward
    steps = force_tokens(network, make_script(encoder, [stopped, going], end=False))
    answers = generate_answers(network, encoder, ["Why?", "How?"], decoding)
    assert answers[0] == answer
    assert answers[1].startswith(going)
    assert steps[0] == 150


PIECES = st.sampled_from([" Rest.", "\n", "\n\n", " ", "\t", "Patient:", "Doctor:", " Thank you", "\r\n", "patient"])


@given(st.lists(st.lists(PIECES, max_size=12).map("".join), min_size=1, max_size=8))
@settings(max_examples=8)
def test_no_line_of_an_answer_speaks_for_the_patient(network: Any, encoder: Encoder, texts: list[str]) -> None:
    forward = network.forward
    try:
        force_tokens(network, make_script(encoder, texts))
        decoding = Decoding(max_new_tokens=60, no_repeat_ngram_size=0)
        answers = generate_answers(network, encoder, ["Why?"] * len(texts), decoding)
    finally:
        network.forward = forward
    for given_answer in answers:
        assert not any(line.strip().startswith(("Patient:", "Doctor:")) for line in given_answer.splitlines())
        assert encoder.tokenizer.eos_token not in given_answer


@pytest.mark.parametrize("max_new_tokens", [8, 120, 1000])
def test_a_very_long_question_leaves_room_inside_the_context(
    network: Any, encoder: Encoder, max_new_tokens: int
) -> None:
    """Also if the answer alone could fill the context."""
    widest = []
    network.transformer.wpe.register_forward_pre_hook(lambda module, args: widest.append(int(args[0].max())))
    force_tokens(network, make_script(encoder, [" Rest", " Rest"], end=False))
    decoding = Decoding(max_new_tokens=max_new_tokens, no_repeat_ngram_size=0)
    answers = generate_answers(network, encoder, ["My tongue is sore. " * 200, "Why?"], decoding)
    assert max(widest) < get_context_length(network)
    assert all(text.startswith("Rest") for text in answers)


def test_a_cut_question_keeps_its_beginning_and_the_handover(network: Any, encoder: Encoder) -> None:
    prompts = []
    network.register_forward_pre_hook(
        lambda module, args, kwargs: prompts.append(kwargs["input_ids"]), with_kwargs=True
    )
    generate_answers(network, encoder, ["Begin with this. " + "and so on " * 200], Decoding(max_new_tokens=4))
    seen = encoder.tokenizer.decode(prompts[0][0])
    assert seen.startswith(f"{tiny.SYSTEM}\n\nPatient: Begin with this.")
    assert seen.endswith("\n\nDoctor:")


def test_typed_control_tokens_stay_text(network: Any, encoder: Encoder) -> None:
    prompts = []
    network.register_forward_pre_hook(
        lambda module, args, kwargs: prompts.append(kwargs["input_ids"]), with_kwargs=True
    )
    generate_answers(network, encoder, ["Why <|endoftext|> me?"], Decoding(max_new_tokens=2))
    assert encoder.tokenizer.eos_token_id not in prompts[0].flatten().tolist()
    assert "<|endoftext|>" in encoder.tokenizer.decode(prompts[0][0])


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_generating_leaves_the_random_numbers_of_training_alone(
    network: Any, encoder: Encoder, temperature: float
) -> None:
    state = torch.random.get_rng_state()
    generate_answers(network, encoder, QUESTIONS, Decoding(max_new_tokens=8, temperature=temperature))
    assert torch.equal(torch.random.get_rng_state(), state)
