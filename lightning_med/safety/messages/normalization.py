"""A message in plain writing: what the rules read, however it was typed.

Zero-width signs, case, accents, full-width and look-alike letters do not change it.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Letters of other alphabets that look like Latin ones, as they stand after case folding (Unicode's confusables).
_LOOK_ALIKES = str.maketrans(
    "аеорсухіјѕԁԛԝһӏкмтвнпгзԍ" + "αβεηικνορτυχγωμ" + "ɑɡıʟɪʀʏ" + "օոսհց",
    "aeopcyxijsdqwhlkmtbhnrzg" + "abenikvoptuxywu" + "agiliry" + "onuhg",
)
_QUOTES = str.maketrans(dict.fromkeys("’‘‛ʼ`´′ʹ＇", "'"))
_CONTROLS = {code: " " for code in range(32) if code not in (9, 10, 13)} | {127: " "}
_RARE = frozenset(("Cf", "Cc", "Cs", "Co", "Cn"))
_SEPARATORS = frozenset(("Zs", "Zl", "Zp"))


def normalize(text: str) -> str:
    """The text in lower-case Latin letters without accents; signs that no one sees are gone."""
    if text.isascii():
        return text.translate(_CONTROLS).lower()
    text = "".join(map(_fold, text))
    return text.translate(_LOOK_ALIKES).translate(_CONTROLS)


@lru_cache(maxsize=8192)
def _fold(sign: str) -> str:
    """One character in its simplest form; a mark that belongs to the letter before it is nothing."""
    if sign.isascii():
        return sign.lower()
    if sign.translate(_QUOTES) == "'":
        return "'"
    simple = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", sign).casefold())
    kept = []
    for part in simple.translate(_QUOTES):
        kind = unicodedata.category(part)
        if kind in _RARE and part not in "\n\t\r":
            continue
        if kind in _SEPARATORS:
            kept.append(" ")
        elif kind not in ("Mn", "Me"):
            kept.append(part)
    return "".join(kept).casefold()


_NON_LATIN = re.compile(r"[^\W\d_a-z]")


def count_foreign_letters(text: str) -> float:
    """Share of letters that are not Latin, after plain writing."""
    letters = sum(sign.isalpha() for sign in text)
    return len(_NON_LATIN.findall(text)) / letters if letters else 0.0
