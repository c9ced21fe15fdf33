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
def ordinary_words() -> frozenset[str]:
    """Lower-case words that are no name unless a title stands before them."""
    return _read("words.txt")


@cache
def common_words() -> frozenset[str]:
    """Lower-case words of five letters or more that are spelt as they are meant, names of people and places among them.

    The commonest of GloVe's vocabulary (Pennington, Socher and Manning, 2014; in the public domain), and everyday
    words.
    """
    return _read("common_words.txt")


@cache
def given_names() -> frozenset[str]:
    """Lower-case given names, of many countries."""
    return _read("given_names.txt")


_DRUG = re.compile(
    r"(?:cillin|mycin|micin|cycline|azole|pril|sartan|statin|olol|oxacin|azepam|azolam|profen|dipine|gliptin|gliflozin|formin|prazole|tidine"
    r"|triptan|setron|cortisone|solone|onide|parin|xaban|vir|mab|nib|zosin|glitazone|barbital|caine|oxetine|opram|traline|cef\w{2,8}|zine)$"
)
_DISEASE = re.compile(
    r"(?:itis|osis|a?emia|oma|opathy|algia|pnea|rrhea|rrhoea|uria|plegia|paresis|phobia|trophy|plasia|sclerosis|ectasis|iasis|cele|lithiasis)$"
)
_NO_DISEASE = frozenset(("diagnosis", "prognosis", "coma", "aroma", "diploma"))


def is_drug(word: str) -> bool:
    """Whether a word names a medicine or a class of them, by a list and by its ending."""
    low = word.lower()
    return low in _drugs() or (len(low) > 6 and bool(_DRUG.search(low)) and low not in ordinary_words())


def is_disease(word: str) -> bool:
    """Whether a word names a disease, by a list and by its ending."""
    low = word.lower()
    return low in _diseases() or (len(low) > 5 and bool(_DISEASE.search(low)) and low not in _NO_DISEASE)


@cache
def _drugs() -> frozenset[str]:
    return _answers("drugs")


@cache
def _diseases() -> frozenset[str]:
    return _answers("diseases")


def _answers(name: str) -> frozenset[str]:
    import yaml

    return few(yaml.safe_load(Path(__file__).with_name("answers.yaml").read_text(encoding="utf-8"))[name])


def few(words: str) -> frozenset[str]:
    """A handful of words, written as a sentence is."""
    return frozenset(words.split())


def is_ordinary(word: str) -> bool:
    """Whether a word is English, or has the ending of a disease, a drug or a profession."""
    low = word.lower()
    return low in ordinary_words() or (len(low) > 5 and low not in given_names() and bool(_MEDICAL.search(low)))


def _read(name: str) -> frozenset[str]:
    return frozenset(Path(__file__).with_name(name).read_text(encoding="utf-8").split())
