"""Chooses the prompt that fits a tokenizer: the base's own chat template, or plain text as the base saw it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from lightning_med.tokenization.backend_text import split_backend
from lightning_med.tokenization.base_template import make_chat_prompt
from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.tokenizer import END
from lightning_med.tokenization.whole_text import WholeTextEncoder, is_control
from lightning_med.utils.errors import InputError

_PROBES = ("x", "X", "1", "(", "é", "'s", '"', "中", "\N{PILL}", "- a")  # beginnings of an answer


@lru_cache(maxsize=4)
def choose_prompt(prompt_format: str | None, system: str, tokenizer: str | None, words: tuple[str, ...] = ()) -> Prompt:
    """Returns the prompt for a tokenizer.

    Args:
        prompt_format: `plain`, `chat`, or `None` for `chat` where the tokenizer has a chat template.
        system: The system prompt.
        tokenizer: As text of `store_tokenizer`; `None` for one that is trained.
        words: Tokens that were added for words of questions and answers.

    Raises:
        InputError: There is no chat template for `chat`, or it cannot be split; or the system prompt spells a control
            token, or a word is part of the prompt.
    """
    stored = json.loads(tokenizer) if tokenizer is not None else {}
    template = stored.get("chat_template")
    if prompt_format == "chat" and not template:
        raise InputError(
            "--data.prompt_format chat: the tokenizer has no chat template.",
            "Give --data.prompt_format plain, or an instruction-tuned base's tokenizer.",
        )
    prompt, control = Prompt(system), [END]
    if tokenizer is not None:
        settings, _ = split_backend(stored["tokenizer"])
        if template and prompt_format != "plain":
            prompt = _make_chat(system, template, stored, settings)
        else:
            prompt = _make_plain(system, stored, settings)
        fixed = "\n".join(prompt.fixed_texts)
        control = [token["content"] for token in settings["added_tokens"] if is_control(token, fixed)]
    if spelled := [token for token in control if token in system]:
        raise InputError(f"--data.system_prompt spells the control token {spelled[0]}.", "Leave it out.")
    for word in words:
        if any(word in text for text in prompt.fixed_texts):
            raise InputError(f"--data.add_tokens: {word!r} is part of the prompt.", "Leave it out.")
    return prompt


def is_encoded_by_segments(prompt: Prompt, settings: dict[str, Any]) -> bool:
    """Returns whether encoding the segments one by one surely gives the ids of the whole text.

    GPT-2's pre-tokenizer never joins white space to the text before it, and each segment of the format `plain` begins
    with white space and ends with none.

    Args:
        prompt: The prompt.
        settings: Of the tokenizer's backend; see `split_backend`.
    """
    splitter = settings["pre_tokenizer"] or {}
    return (
        prompt == Prompt(prompt.system)
        and settings["normalizer"] is None
        and splitter.get("type") == "ByteLevel"
        and splitter.get("use_regex", True)
        and not splitter["add_prefix_space"]
        and not any(
            token["lstrip"] or token["rstrip"] or token["single_word"] or any(map(str.isspace, token["content"]))
            for token in settings["added_tokens"]
        )
    )


def _make_plain(system: str, stored: dict[str, Any], settings: dict[str, Any]) -> Prompt:
    """Makes the format `plain`, with the beginning that the tokenizer gives to every text."""
    prompt, bos = Prompt(system), stored["special"].get("bos_token")
    processor = settings["post_processor"] or {}
    if bos is not None and bos in json.dumps(processor, ensure_ascii=False):
        backend = Tokenizer.from_str(stored["tokenizer"])
        given = backend.encode("You").ids
        if given[:1] == [backend.token_to_id(bos)]:
            # Some tokenizers put a space before a text, but not before what stands behind a token.
            bare, spaced = (backend.encode(f"{text}You", add_special_tokens=False).ids for text in (bos, f"{bos} "))
            needs_space = bare != given[: len(bare)] and spaced == given[: len(spaced)]
            prompt = prompt.begin_with(f"{bos} " if needs_space else bos)
    if is_encoded_by_segments(prompt, settings):
        return prompt
    return _settle_lead(prompt, stored)


def _make_chat(system: str, template: str, stored: dict[str, Any], settings: dict[str, Any]) -> Prompt:
    control = [token["content"] for token in settings["added_tokens"] if is_control(token, token["content"])]
    return _settle_lead(make_chat_prompt(system, template, stored["special"], control), stored)


def _settle_lead(prompt: Prompt, stored: dict[str, Any]) -> Prompt:
    """Moves white space from an answer's prefix to its lead where the tokenizer would merge it with the answer.

    Raises:
        InputError: The prefix cannot be encoded apart from the answer.
    """
    end = prompt.end or stored["special"]["eos_token"]
    whole = WholeTextEncoder(stored["tokenizer"], (*prompt.fixed_texts, end))
    row = [prompt.opening, f"{prompt.question_lead}x", prompt.answer_prefix, f"{prompt.answer_lead}x", end]
    if _join(*whole.encode([row])) != whole.tokenizer.encode("".join(row), add_special_tokens=False).ids:
        raise InputError(
            "The tokenizer does not find its own control tokens in a text that spells them.",
            "Use another tokenizer, or the other --data.prompt_format.",
        )
    if _is_separable(whole, prompt, end):
        return prompt
    prefix = prompt.answer_prefix.rstrip()
    lead = prompt.answer_prefix[len(prefix) :] + prompt.answer_lead
    moved = replace(prompt, answer_prefix=prefix, answer_lead=lead)
    if prefix and moved != prompt and _is_separable(whole, moved, end):
        return moved
    raise InputError(
        f"The tokenizer merges the text before an answer, {prompt.answer_prefix!r}, with the answer itself.",
        "Use another tokenizer, or the other --data.prompt_format.",
    )


def _is_separable(whole: WholeTextEncoder, prompt: Prompt, end: str) -> bool:
    """Returns whether the ids up to an answer are the same whatever the answer is, and without one."""
    asked = [prompt.opening, f"{prompt.question_lead}x", prompt.answer_prefix]
    (before,) = whole.encode([asked])
    rows = [[*asked, prompt.answer_lead + probe, end] for probe in _PROBES]
    return all(_join(row[:3]) == _join(before) for row in whole.encode(rows))


def _join(segments: Iterable[np.ndarray]) -> list[int]:
    return np.concatenate(list(segments)).tolist()
