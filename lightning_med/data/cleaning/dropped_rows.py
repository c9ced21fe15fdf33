"""Rows that cleaning rules drop: each function returns `[rows]`, bool."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lightning_med.data.cleaning.chat_doctor import CHAT_DOCTOR
from lightning_med.data.cleaning.rule import COLUMNS, find_matching
from lightning_med.safety.answers.answer_rules import make_unsafe_advice_pattern

MIN_WORDS = 5  # of an answer

# The characters at which `str.split` splits, except the space.
SPACES = r"\t-\r\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
_UNFINISHED = (
    r"(?:…|\.\.\.|\(|\b(?:and|or|the|a|an|of|to|with|for|in|is|are|your|that|which|if|by|from|as|at|but|because"
    r"|may|can|will|should))\s*$"
)


def is_missing(frame: pd.DataFrame) -> np.ndarray:
    """Finds rows without a question or without an answer."""
    return frame[list(COLUMNS)].isna().any(axis=1).to_numpy()


def is_blank(frame: pd.DataFrame) -> np.ndarray:
    """Finds rows whose question or answer is only white space."""
    return ~(find_matching(frame["question"], f"[^ {SPACES}]") & find_matching(frame["answer"], f"[^ {SPACES}]"))


def is_too_short(frame: pd.DataFrame) -> np.ndarray:
    """Finds single exchanges whose answer has under `MIN_WORDS` words, or characters in a script without spaces."""
    enough = rf"^\s*\S+(?:\s+\S+){{{MIN_WORDS - 1}}}|[\p{{Han}}\p{{Hiragana}}\p{{Katakana}}\p{{Thai}}]{{{MIN_WORDS}}}"
    short = ~find_matching(frame["answer"], enough)
    return short if "turns" not in frame else short & (frame["turns"] == 1).to_numpy(dtype=bool)


def has_nothing_to_learn(frame: pd.DataFrame) -> np.ndarray:
    """Finds conversations of which no turn is to be learned."""
    if "learned" not in frame:
        return np.zeros(len(frame), dtype=bool)
    return ~frame.groupby("row")["learned"].transform("any").to_numpy(dtype=bool)


def is_cut(frame: pd.DataFrame) -> np.ndarray:
    """Finds answers that stop in mid-sentence."""
    return find_matching(frame["answer"], "(?i)" + _UNFINISHED)


def has_lost_words(frame: pd.DataFrame) -> np.ndarray:
    """Finds texts in which the placeholder "Chat Doctor" has replaced words."""
    return find_matching(frame["question"], CHAT_DOCTOR) | find_matching(frame["answer"], CHAT_DOCTOR)


def has_unsafe_advice(frame: pd.DataFrame) -> np.ndarray:
    """Finds answers that advise against seeking care or are abusive, by the rules that guard a model's answers."""
    return find_matching(frame["answer"], make_unsafe_advice_pattern())
