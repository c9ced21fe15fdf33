"""The Modelfile: Ollama renders the prompt of the training, stops where answers end, and decodes as we do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lightning_med.export.exported_tokenizer import make_exported_tokenizer
from lightning_med.export.gguf.modelfile import make_modelfile
from lightning_med.inference.decoding import Decoding
from lightning_med.tokenization.prompt_choice import choose_prompt
from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.tokenizer import store_tokenizer
from scripts.bases.tokenizers import load_base
from tests.export.go_template import read_modelfile, render

QUESTION = {"role": "user", "content": 'My tongue is sore: "very" {{ sore }}'}
ANSWER = {"role": "assistant", "content": "Rest it."}
CONVERSATIONS: list[list[dict[str, str]]] = [
    [QUESTION],
    [QUESTION, ANSWER, QUESTION],
    [QUESTION, ANSWER, QUESTION, ANSWER, QUESTION],
    [{"role": "system", "content": "Be brief."}, QUESTION, ANSWER, QUESTION],
]


def read(prompt: Prompt, stops: tuple[str, ...] = ("<end>",), **decoding: Any) -> dict[str, list[str]]:
    commands: dict[str, list[str]] = {}
    for name, value in read_modelfile(make_modelfile("model.gguf", prompt, list(stops), Decoding(**decoding), 160)):
        commands.setdefault(name, []).append(value)
    return commands


@pytest.mark.parametrize("tokenizer", ["plain_gpt2_bos", "smollm2", "qwen3", "llama3", "deepseek_r1", "alpaca"])
@pytest.mark.parametrize("system", ["You are a doctor.", ""])
def test_ollama_renders_what_the_chat_template_does(tokenizer: str, system: str) -> None:
    stored = store_tokenizer(load_base(tokenizer))
    prompt = choose_prompt(None, system, stored)
    exported = make_exported_tokenizer(stored, prompt)
    commands = read(prompt, (exported.eos_token,))
    (template,) = commands["TEMPLATE"]
    (default,) = commands.get("SYSTEM", [""])
    assert default == prompt.system.strip()
    for messages in CONVERSATIONS:
        ours = exported.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        assert render(template, messages, default) == ours


def test_an_answer_that_comes_last_is_continued() -> None:
    (template,) = read(Prompt("Be kind."))["TEMPLATE"]
    text = render(template, [QUESTION, ANSWER], "Be kind.")
    assert text.endswith("\n\nDoctor: Rest it.")


@pytest.mark.parametrize("system", ['Say "" or\n"""', "No\N{NO-BREAK SPACE}break", "One\r\ntwo"])
def test_a_system_prompt_that_ollama_would_change_is_part_of_the_template(system: str) -> None:
    commands = read(Prompt(system))
    assert "SYSTEM" not in commands
    assert render(commands["TEMPLATE"][0], [QUESTION]).startswith(f"{system.strip()}\n\nPatient:")
    assert all(char.isprintable() or char == "\n" for char in commands["TEMPLATE"][0])
    assert '"""' not in commands["TEMPLATE"][0]


def test_answers_stop_where_ours_do() -> None:
    plain = read(Prompt("Be kind."), ("<|endoftext|>",))
    assert plain["stop"] == ["<|endoftext|>", "\nPatient:", "\nDoctor:"]
    chat = replace(Prompt("Be kind."), format="chat", markers=("### Response:", "[INST]"))
    assert read(chat, ("</s>", "<|user|>"))["stop"] == ["</s>", "<|user|>", "### Response:", "[INST]"]


def test_the_decoding_settings_are_ours_not_ollamas() -> None:
    commands = read(Prompt(), max_new_tokens=77, temperature=0.5, top_p=0.8, min_p=0.05, repetition_penalty=1.2)
    values = {name: values[0] for name, values in commands.items() if name.islower() and name != "stop"}
    assert values == {
        "num_ctx": "160",
        "num_predict": "77",
        "temperature": "0.5",
        "top_p": "0.8",
        "top_k": "0",
        "min_p": "0.05",
        "repeat_penalty": "1.2",
        "repeat_last_n": "64",
    }
    assert commands["FROM"] == ["./model.gguf"]
