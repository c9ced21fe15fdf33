"""Chat templates that cannot be split into uniform turns are refused in two lines; others are rendered as transformers does."""

from __future__ import annotations

import json
import sys

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel

from lightning_med.tokenization.base_template import make_chat_prompt
from lightning_med.tokenization.prompt_choice import choose_prompt
from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.tokenizer import StoredTokenizer, add_tokens, store_tokenizer
from lightning_med.tokenization.turn_markers import break_markers, can_be_broken, find_markers
from lightning_med.utils.errors import InputError
from scripts.bases.chat_templates import SMOLLM2
from scripts.bases.tokenizers import load_base, make_base

TURN = "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
ASK = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
CHATML = f"{{% for m in messages %}}{TURN}{{% endfor %}}{ASK}"
SPECIAL = {"eos_token": "<|endoftext|>", "bos_token": "<s>"}
CONTROL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>"]


def make(template: str, system: str = "Be kind.") -> Prompt:
    return make_chat_prompt(system, template, SPECIAL, CONTROL)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{{ m.content }", "cannot be read"),
        ("{{ raise_exception('No, never.') }}", "raises an error: No, never."),
        ("{{ messages.nothing.there }}", "raises an error"),
        ("{{ strftime_now('%d %b') }}" + CHATML, "asks for today's date"),
        ("{{ messages[0].__class__.__mro__ }}" + CHATML, "is unsafe"),
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}" + CHATML, "does not end"),
        ("{% for a in range(99999) | map('int') %}{{ range(99999) | map('int') | sum }}{% endfor %}", "does not end"),
        (
            "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}" + CHATML,
            "does not end",
        ),
        ("{{ lipsum(n=9999999) }}" + CHATML, "does not end"),
        ("{{ 'a' * 10**11 }}" + CHATML, "may have no bound"),
        ("{{ 'a' * 100000000000 }}" + CHATML, "may have no bound"),
        ("{{ [messages] * 100000000000 }}" + CHATML, "may have no bound"),
        ("{{ 9 ** 9 ** 9 }}" + CHATML, "may have no bound"),
        (CHATML + "{# #}" * 20000, "has 100,"),
        ("{{ 'nothing at all' }}", "changes, drops"),
        (CHATML.replace("m.content", "(m.content | upper)"), "changes, drops"),
        (CHATML.replace("m.content", "(m.content | e)"), "changes, drops"),
        (CHATML.replace("m.content", "(m.content | tojson)"), "changes, drops"),
        (CHATML.replace("m.content", "(m.content.split() | join(' '))"), "changes, drops"),
        (CHATML.replace("m.content", "(m.content | truncate(20))"), "changes, drops"),
        (CHATML.replace("for m in messages", "for m in messages[-2:]"), "changes, drops"),
        (CHATML.replace("for m in messages", "for m in messages | reverse"), "changes, drops"),
        (CHATML.replace("m.content", "m.content + m.content"), "changes, drops"),
        (CHATML.replace("'\n' + m.content", "' ' ~ loop.index ~ '\n' + m.content"), "differ from each other"),
        (CHATML.replace("m.role", "(m.role if messages | length < 6 else 'someone')"), "differ from each other"),
        (CHATML.replace("assistant\n' }}", "doctor\n' }}"), "another generation prompt"),
        ("{% for m in messages %}{{ m.role + '\n' + m.content + '\n' }}{% endfor %}", "by nothing but words or white"),
        (
            "{% for m in messages %}{{ '# I' + m.content + ('\n#I:' if m.role == 'user' else '\n') }}{% endfor %}",
            "markers",
        ),
    ],
)
def test_a_template_that_cannot_be_split_is_refused(template: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        make(template)
    assert reason in caught.value.what
    assert "--data.prompt_format plain" in caught.value.hint
    assert len(str(caught.value).splitlines()) == 2


def test_templates_are_rendered_as_transformers_does() -> None:
    """Blocks are trimmed, loops have `break`, `tojson` escapes no HTML, masks are left to others."""
    template = """{%- set date = strftime_now('%d') if strftime_now is defined else 'no date' %}
    {% for m in messages %}
        {% if loop.index > 99 %}{% break %}{% endif %}
        {% generation %}{{ m.role | tojson }}{{ {'a': '<é>'} | tojson(indent=None) }}{% endgeneration %}
{{ bos_token + date + '\n' + m.content + '<|im_end|>' }}
    {% endfor %}
{{ '"assistant"{"a": "<é>"}<s>no date\n' if add_generation_prompt }}"""
    prompt = make(template)
    assert prompt.answer_prefix.endswith('"assistant"{"a": "<é>"}<s>no date\n')
    assert prompt.end == "<|im_end|>"


def test_a_template_may_compute_with_numbers() -> None:
    assert make(f"{{% if messages | length * 2 > 1 %}}{CHATML}{{% endif %}}") == make(CHATML)


def test_the_count_of_lines_leaves_the_trace_function() -> None:
    def trace(*_: object) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        make(CHATML)
        with pytest.raises(InputError, match="does not end"):
            make("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)


def test_a_template_without_a_generation_prompt_gets_its_turns_own() -> None:
    assert make(CHATML.replace(ASK, "")) == make(CHATML)


def test_turns_that_only_an_end_token_separates() -> None:
    prompt = make("{% for m in messages %}{{ m.content + eos_token }}{% endfor %}")
    assert (prompt.answer_prefix, prompt.end, prompt.question_prefix) == ("<|endoftext|>", "<|endoftext|>", "")


def test_the_date_of_a_template_is_its_default() -> None:
    template = (
        "{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% else %}{{ '26 Jul 2024' }}{% endif %}" + CHATML
    )
    assert make(template).before_system.startswith("26 Jul 2024<|im_start|>system")


@pytest.mark.parametrize("change", ["raise", "drop", "move"])
def test_a_system_prompt_that_the_template_does_not_take(change: str) -> None:
    body = {
        "raise": "{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}" + TURN,
        "drop": "{% if m.role != 'system' %}" + TURN + "{% endif %}",
        "move": "{% if m.role != 'system' %}" + TURN + "{% endif %}"
        "{% if loop.last and messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}",
    }[change]
    prompt = make(f"{{% for m in messages %}}{body}{{% endfor %}}{ASK}")
    assert prompt.opening == "<|im_start|>user\nBe kind.\n\n"
    assert prompt.bare_opening == "<|im_start|>user\n"


def test_a_token_of_the_beginning_ends_no_answer() -> None:
    template = "{% for m in messages %}{{ ('<s>### Question:\n' if m.role == 'user' else '\n### Answer:\n') + m.content }}{% endfor %}"
    prompt = make(template)
    assert prompt.end == "<|endoftext|>"
    assert prompt.question_prefix == "<s>### Question:\n"
    assert make(template.replace("<s>", "<|im_start|>")).end == "<|im_start|>"  # as GLM's answers end


def test_a_missing_template_is_refused_where_one_is_asked_for() -> None:
    for tokenizer in (None, store_tokenizer(make_base("gpt2"))):
        with pytest.raises(InputError, match="no chat template"):
            choose_prompt("chat", "", tokenizer)


def test_a_tokenizer_that_merges_the_prefix_with_the_answer_is_refused() -> None:
    template = SMOLLM2.replace("\n' + message['content']", "♥' + message['content']").replace(
        "assistant\n", "assistant♥"
    )
    tokenizer = make_base("unigram", template, ("<|im_start|>", "<|im_end|>"))
    with pytest.raises(InputError, match="merges the text before an answer") as caught:
        choose_prompt(None, "", store_tokenizer(tokenizer))  # two unknown characters in a row are one token
    assert len(str(caught.value).splitlines()) == 2


def test_a_tokenizer_that_does_not_read_its_own_tokens_is_refused() -> None:
    token = AddedToken("<|im_end|>", special=True, single_word=True)
    with pytest.raises(InputError, match="does not find its own control tokens"):
        choose_prompt(None, "", store_tokenizer(make_base("qwen2", SMOLLM2, (token, "<|im_start|>"))))


def test_a_system_prompt_that_spells_a_control_token_is_refused() -> None:
    for name, system in (
        ("qwen2", "Be <|im_end|>"),
        ("plain_llama3", "<|begin_of_text|> Be"),
        ("qwen3", "a <|im_start|>"),
    ):
        with pytest.raises(InputError, match="system_prompt spells"):
            choose_prompt(None, system, store_tokenizer(load_base(name)))
    with pytest.raises(InputError, match="system_prompt spells"):
        choose_prompt(None, "x <|endoftext|>", None)
    choose_prompt("plain", "<|user|> <think>", store_tokenizer(load_base("qwen3")))  # tokens of no turn


@pytest.mark.parametrize("word", ["knee", "<|im_end|>", "e", "Ġthe"])
def test_a_word_that_is_a_token_already_is_refused(word: str) -> None:
    stored = add_tokens(store_tokenizer(load_base("qwen2")), ["knee"])
    with pytest.raises(InputError, match="has a token"):
        add_tokens(stored, ["[PHONE]", word])


def test_added_words_get_the_ids_behind_the_greatest() -> None:
    text = store_tokenizer(load_base("qwen2"))
    size = StoredTokenizer(text).vocab_size
    added = StoredTokenizer(add_tokens(text, ["[PHONE]", "[NAME]"]))
    assert [added.backend_tokenizer.token_to_id(word) for word in ("[PHONE]", "[NAME]")] == [size, size + 1]
    assert added.vocab_size == size + 2


@pytest.mark.parametrize("numbers", [(0, 2, 3), (0, 1, 9)], ids=["of another token", "in a gap"])
def test_words_are_not_added_where_the_ids_have_gaps(numbers: tuple[int, ...]) -> None:
    backend = Tokenizer(WordLevel(dict(zip(("<|endoftext|>", "a", "b"), numbers, strict=True)), "a"))
    backend.add_special_tokens(["<|endoftext|>"])
    text = json.dumps({"tokenizer": backend.to_str(), "special": {"eos_token": "<|endoftext|>"}})
    assert StoredTokenizer(text).vocab_size == numbers[-1] + 1
    with pytest.raises(InputError, match="have gaps") as caught:
        add_tokens(text, ["[PHONE]"])
    assert len(str(caught.value).splitlines()) == 2


def test_a_word_of_the_prompt_is_refused() -> None:
    for name, word in (
        ("plain_qwen2", "Doctor:"),
        ("zephyr", "<|user|>"),
        ("alpaca", "### Response"),
        ("gemma", "model"),
    ):
        stored = add_tokens(store_tokenizer(load_base(name)), [word])
        with pytest.raises(InputError, match="part of the prompt"):
            choose_prompt(None, "", stored, (word,))


def test_markers_are_brackets_and_lines_but_no_bare_words() -> None:
    import re

    control = re.compile(r"<\|c\|>")
    texts = ["<|c|>user\n", "<s>[INST] ", "\n### Response:\n", " USER: ", "human\n", "[[A]]<b>x y</b>"]
    found = ("### Response:", "[INST]", "USER:", "[[A]]", "</b>", "<b>", "<s>", "x y")
    assert find_markers(texts, [], control) == found
    assert find_markers([], ["<<SYS>>\nToday: 26 Jul\nRules:\n"], control) == ("<<SYS>>", "Rules:")
    assert break_markers("a [INST][INST] USER:", ("[INST]", "USER:")) == "a [ INST][ INST] U SER:"
    assert can_be_broken(("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "### Response:"))
    assert not can_be_broken(("#I", "# I"))
