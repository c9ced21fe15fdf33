"""The tokenizer of an export: its chat template renders what was trained on, and its end token is the learned one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lightning_med.tokenization.backend_text import join_backend, replace_setting, split_backend
from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.tokenizer import restore_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def make_exported_tokenizer(text: str, prompt: Prompt) -> PreTrainedTokenizerFast:
    """Returns the tokenizer that an export gets.

    Args:
        text: The tokenizer of the training, as by `store_tokenizer`.
        prompt: Of the training.
    """
    stored = json.loads(text)
    settings, model = split_backend(stored["tokenizer"])
    # A mask of the answers' tokens is made of offsets: a token's leading space must be part of the token.
    if replace_setting(settings["post_processor"], "trim_offsets", False):
        text = json.dumps({**stored, "tokenizer": join_backend(settings, model)})
    tokenizer = restore_tokenizer(text)
    if prompt.end:
        tokenizer.eos_token = prompt.end_token
    tokenizer.chat_template = prompt.make_chat_template()
    return tokenizer
