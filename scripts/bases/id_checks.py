"""Comparison of the ids of training with those of the exported chat template, for one tokenizer."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from bases.tokenizers import load_base
from lightning_med.data.sample import PATH as SAMPLE
from lightning_med.export.exported_tokenizer import make_exported_tokenizer
from lightning_med.tokenization.consultation import ANSWER
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompt_choice import choose_prompt
from lightning_med.tokenization.prompts import SYSTEM_PROMPT
from lightning_med.tokenization.text_normalization import normalize_whitespace
from lightning_med.tokenization.tokenizer import StoredTokenizer, store_tokenizer

_ROWS = 40  # of the embedded consultations
_LENGTH = 8192  # tokens; no row is cut
_ODD = (
    "1 é (or \N{PILL})...\n- a\n2. b!",
    "'s \"quoted\" it's 12345 days",
    ")?!",
    "Wait:\nwhat :\nno",
    "- 5 mg",
    "中文?",
)


@dataclass
class IdOutcome:
    """What was found for one tokenizer.

    Attributes:
        name: Of the tokenizer.
        prompt_format: `plain` or `chat`.
        bos: Whether a consultation begins with the token of a text's beginning.
        rows: Conversations that were compared.
        faults: What differs, with the number of rows; empty if nothing.
    """

    name: str
    prompt_format: str
    bos: bool
    rows: int = 0
    faults: list[str] = field(default_factory=list)


def check_tokenizer(name: str, folder: Path) -> IdOutcome:
    """Compares ids, learned tokens and generation prompts of training with those of the exported folder.

    Args:
        name: One of `bases.tokenizers.BASES`.
        folder: Empty; it is written to.
    """
    stored = store_tokenizer(load_base(name))
    prompt = choose_prompt(None, SYSTEM_PROMPT, stored)
    encoder = Encoder(StoredTokenizer(stored), prompt, _LENGTH)
    make_exported_tokenizer(stored, prompt).save_pretrained(folder)
    exported = AutoTokenizer.from_pretrained(folder)
    outcome = IdOutcome(name, prompt.format, bool(exported.bos_token) and prompt.opening.startswith(exported.bos_token))
    differing = {"ids": 0, "learned tokens": 0, "generation prompts": 0}
    conversations = _read_conversations()
    for texts in conversations:
        roles = [("user", "assistant")[place % 2] for place in range(len(texts))]
        messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
        (row,) = encoder.encode(list(texts[::2]), list(texts[1::2]), [len(texts) // 2])
        rendered: Any = exported.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        asked = exported.apply_chat_template(messages[:1], add_generation_prompt=True, return_dict=False)
        first = int(np.argmax(row.parts == ANSWER))
        differing["ids"] += rendered["input_ids"] != row.input_ids.tolist()
        differing["learned tokens"] += rendered["assistant_masks"] != (row.parts == ANSWER).astype(int).tolist()
        same = asked == encoder.encode_question(texts[0], _LENGTH) == row.input_ids[:first].tolist()
        differing["generation prompts"] += not same
    outcome.rows = len(conversations)
    outcome.faults = [f"{count} {what}" for what, count in differing.items() if count]
    return outcome


def _read_conversations() -> list[list[str]]:
    """Returns embedded consultations, odd texts, and conversations of several turns."""
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        rows = [(row["input"], row["output"]) for row in islice(csv.DictReader(file), _ROWS)]
    odd = [(one, other) for one in _ODD for other in _ODD]
    pairs = [[normalize_whitespace(text) for text in pair] for pair in (*rows, *odd)]
    return [*pairs, *([*one, *other] for one, other in zip(pairs[::2], pairs[1::2], strict=True))]
