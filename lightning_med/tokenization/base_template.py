"""Splits a base's chat template into the segments of a prompt, by rendering it once with known texts.

A template is a program: it may treat the last turn in another way, change the text, or ask for today's date. Training
needs text that is the same for every turn and every day, so the template is rendered here, once for each tokenizer,
and only its segments are used afterwards.

Qwen3's puts an empty block of thoughts into the last answer alone. The prefix of an answer is therefore what the
template adds as its generation prompt, in every turn.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.template_sandbox import Render, compile_template, refuse_template
from lightning_med.tokenization.turn_markers import can_be_broken, find_markers
from lightning_med.utils.errors import InputError

_EXCHANGES = 3  # the last may be rendered in another way than the others, and two must be alike
_MARKS = " 'a' \"b\" <c> & {d}\n\n2  e."  # what a template might escape, collapse or cut
_SYSTEM = f"qzxSystem{_MARKS}"
_QUESTIONS = [f"qzxQuestion{number}{_MARKS}" for number in range(_EXCHANGES)]
_ANSWERS = [f"qzxAnswer{number}{_MARKS}" for number in range(_EXCHANGES)]


def make_chat_prompt(system: str, template: str, special: Mapping[str, str], control: Collection[str]) -> Prompt:
    """Makes the prompt of the format `chat`.

    Args:
        system: The system prompt.
        template: The base's chat template.
        special: Special tokens by name, for instance `eos_token`; variables of the template.
        control: Tokens that no text from outside can yield.

    Raises:
        InputError: The template cannot be split into uniform turns.
    """
    render = compile_template(template, special)
    opening, prefixes, betweens = _split_turns(render, with_system=False)
    try:
        headings, *others = _split_turns(render, with_system=True)
        keeps_system = others == [prefixes, betweens]
    except InputError:
        keeps_system = False  # it raises, drops the system prompt, or moves it behind the first question
    before, after = headings if keeps_system and len(headings) == 2 else (opening[0], "\n\n")
    prefix, lead = _choose_prefix(*prefixes)
    end, between = _split_end(betweens[0], special, control)
    tokens = re.compile("|".join(map(re.escape, sorted(control, key=len, reverse=True))) or "(?!)")
    markers = find_markers([between, prefix], [before, after] if keeps_system else [], tokens)
    if not tokens.search(prefix) and not any(marker in prefix for marker in markers):
        raise refuse_template("marks the beginning of an answer by nothing but words or white space")
    if not can_be_broken(markers):
        raise refuse_template(f"has markers that cannot be told from changed ones: {' '.join(markers)}")
    first_tokens = [found[0] for found in (tokens.search(between), tokens.search(prefix)) if found]
    stops = [token for token in (*first_tokens, special["eos_token"]) if token != end.lstrip()]
    return Prompt(
        system=system,
        format="chat",
        before_system=before,
        after_system=after,
        bare_opening=opening[0],
        question_lead="",
        answer_prefix=prefix,
        answer_lead=lead,
        end=end,
        question_prefix=between,
        markers=markers,
        stops=tuple(dict.fromkeys(stops)),
    )


def _split_turns(render: Render, with_system: bool) -> tuple[list[str], list[str], list[str]]:
    """Renders a conversation and splits it.

    Returns:
        The text before the system prompt (if any) and before the first question; the answers' prefixes: of the turns
        before the last, and what is added as generation prompt; the texts between an answer and the next question.
    """
    pairs = zip(_QUESTIONS, _ANSWERS, strict=True)
    turns = [{"role": role, "content": text} for pair in pairs for role, text in zip(_ROLES, pair, strict=True)]
    system = [{"role": "system", "content": _SYSTEM}] if with_system else []
    marks = [message["content"] for message in (*system, *turns)]
    pieces = _split(render([*system, *turns], False), marks)
    asked = _split(render([*system, *turns[:-1]], True), marks[:-1])
    start = len(system) + 1
    if pieces[:-2] != asked[:-1] or len({*pieces[start:-2:2]}) > 1 or len({*pieces[start + 1 : -2 : 2]}) > 1:
        raise refuse_template("renders turns that differ from each other")
    return pieces[:start], [pieces[start], asked[-1]], pieces[start + 1 : -2 : 2][:1]


_ROLES = ("user", "assistant")


def _split(text: str, marks: list[str]) -> list[str]:
    """Splits a text at marks that occur once each, in this order."""
    pieces = []
    for mark in marks:
        before, found, after = text.partition(mark)
        if not found or mark in after:
            raise refuse_template("changes, drops, moves or repeats the text of messages")
        pieces.append(before)
        text = after
    return [*pieces, text]


def _choose_prefix(prefix: str, generated: str) -> tuple[str, str]:
    """Returns the prefix and the lead of an answer.

    Args:
        prefix: Between question and answer, in a turn before the last.
        generated: After the last question, with a generation prompt.
    """
    if generated.startswith(prefix):
        return generated, ""
    if not prefix.startswith(generated):
        raise refuse_template("has another generation prompt than what it puts before an answer")
    rest = prefix[len(generated) :]
    return (prefix, "") if rest.strip() else (generated, rest)  # without a generation prompt, or with white space less


def _split_end(between: str, special: Mapping[str, str], control: Collection[str]) -> tuple[str, str]:
    """Splits the text after an answer into the answer's end and what stands before the next question.

    Where no token ends an answer, the tokenizer's end token is put there.
    """
    text = between.lstrip()
    token = max((token for token in control if text.startswith(token)), key=len, default=None)
    if token is None or (token == special.get("bos_token") and token != special["eos_token"]):
        return special["eos_token"], between
    length = len(between) - len(text) + len(token)
    return between[:length], between[length:]
