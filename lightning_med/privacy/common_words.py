"""Three word lists beside this file: ordinary and medical English, other common words, and given names."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_MEDICAL = re.compile(
    r"(?:itis|osis|a?emias?|omas?|opathy|opathic|ectomy|cillin|mycin|azole|pril|sartan|statin|olol|oxacin|amide|azepam|azolam|"
    r"profen|dipine|gliptin|formin|olone|terone|ology|ologists?|iatrists?|scopy|graphy|uria|algia|plasty|trophy|plasia|cortis|"
    r"tension|tions?|ness|ments?|ally|fully|ously|less|pedic|diol|phen|mide|zine|prazole|thyroid|sexual|vir|mab)$"
)


@cache
def read_ordinary_words() -> frozenset[str]:
    """Lower-case words that are no name unless a title stands before them."""
    return _read_list("ordinary_words.txt")


@cache
def read_common_words() -> frozenset[str]:
    """Lower-case words of five letters or more that are spelt as they are meant, names of people and places among them.

    The commonest of GloVe's vocabulary (Pennington, Socher and Manning, 2014; in the public domain), and everyday
    words.
    """
    return _read_list("common_words.txt")


@cache
def read_given_names() -> frozenset[str]:
    """Lower-case given names, of many countries."""
    return _read_list("given_names.txt")


def make_word_set(words: str) -> frozenset[str]:
    """A handful of words, written as a sentence is."""
    return frozenset(words.split())


def is_ordinary(word: str) -> bool:
    """Whether a word is English, or has the ending of a disease, a drug or a profession."""
    low = word.lower()
    return low in read_ordinary_words() or (
        len(low) > 5 and low not in read_given_names() and bool(_MEDICAL.search(low))
    )


def _read_list(name: str) -> frozenset[str]:
    return frozenset(Path(__file__).with_name(name).read_text(encoding="utf-8").split())
