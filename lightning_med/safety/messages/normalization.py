"""Normalization of a message: lower case, Latin letters, no accents and no invisible characters."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Letters of other alphabets that look like Latin ones, after case folding (from Unicode's confusables).
_LOOK_ALIKES = str.maketrans(
    "аеорсухіјѕԁԛԝһӏкмтвнпгзԍ" + "αβεηικνορτυχγωμ" + "ɑɡıʟɪʀʏ" + "օոսհց",
    "aeopcyxijsdqwhlkmtbhnrzg" + "abenikvoptuxywu" + "agiliry" + "onuhg",
)
_QUOTES = str.maketrans(dict.fromkeys("’‘‛ʼ`´′ʹ＇", "'"))
_CONTROLS = {code: " " for code in range(32) if code not in (9, 10, 13)} | {127: " "}
_REMOVED = frozenset(("Cf", "Cc", "Cs", "Co", "Cn"))  # Unicode categories
_SEPARATORS = frozenset(("Zs", "Zl", "Zp"))
_MARKS = frozenset(("Mn", "Me"))
_NON_LATIN = re.compile(r"[^\W\d_a-z]")


def normalize(text: str) -> str:
    """Returns a text in lower-case Latin letters, without accents and invisible characters.

    Full-width letters and letters that look like Latin ones become these.
    """
    if text.isascii():
        return text.translate(_CONTROLS).lower()
    text = "".join(map(_fold, text))
    return text.translate(_LOOK_ALIKES).translate(_CONTROLS)


@lru_cache(maxsize=8192)
def _fold(character: str) -> str:
    """One character in its simplest form; empty for a combining mark."""
    if character.isascii():
        return character.lower()
    if character.translate(_QUOTES) == "'":
        return "'"
    simple = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", character).casefold())
    kept = []
    for part in simple.translate(_QUOTES):
        category = unicodedata.category(part)
        if category in _REMOVED and part not in "\n\t\r":
            continue
        if category in _SEPARATORS:
            kept.append(" ")
        elif category not in _MARKS:
            kept.append(part)
    return "".join(kept).casefold()


def compute_foreign_share(text: str) -> float:
    """Returns the share of a normalized text's letters that are not Latin, from 0 to 1."""
    letters = sum(character.isalpha() for character in text)
    return len(_NON_LATIN.findall(text)) / letters if letters else 0.0
