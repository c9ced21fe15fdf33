"""Word lists: ordinary and medical English, and given names."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_MEDICAL_ENDING = re.compile(
    r"(?:itis|osis|a?emias?|omas?|opathy|opathic|ectomy|cillin|mycin|azole|pril|sartan|statin|olol|oxacin|amide|azepam|azolam|"
    r"profen|dipine|gliptin|formin|olone|terone|ology|ologists?|iatrists?|scopy|graphy|uria|algia|plasty|trophy|plasia|cortis|"
    r"tension|tions?|ness|ments?|ally|fully|ously|less|pedic|diol|phen|mide|zine|prazole|thyroid|sexual|vir|mab)$"
)


@cache
def read_ordinary_words() -> frozenset[str]:
    """Reads lower-case English words that are not names unless a title precedes them."""
    return _read_list("ordinary_words.txt")


@cache
def read_given_names() -> frozenset[str]:
    """Reads lower-case given names of many countries."""
    return _read_list("given_names.txt")


def make_word_set(words: str) -> frozenset[str]:
    """Returns the words of a text that are separated by blanks."""
    return frozenset(words.split())


def is_ordinary(word: str) -> bool:
    """Returns whether a word is ordinary English, or has the ending of a disease, a drug or a profession."""
    low = word.lower()
    if low in read_ordinary_words():
        return True
    return len(low) > 5 and low not in read_given_names() and bool(_MEDICAL_ENDING.search(low))


def _read_list(name: str) -> frozenset[str]:
    return make_word_set(Path(__file__).with_name(name).read_text(encoding="utf-8"))
