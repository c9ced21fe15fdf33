"""Words for medicines and diseases, recognised by list and by ending."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from lightning_med.privacy.word_lists import make_word_set, read_ordinary_words
from lightning_med.safety.yaml_files import read_yaml

PATH = Path(__file__).with_name("medical_terms.yaml")

_DRUG_ENDING = re.compile(
    r"(?:cillin|mycin|micin|cycline|azole|pril|sartan|statin|olol|oxacin|azepam|azolam|profen|dipine|gliptin|gliflozin|formin|prazole|tidine"
    r"|triptan|setron|cortisone|solone|onide|parin|xaban|vir|mab|nib|zosin|glitazone|barbital|caine|oxetine|opram|traline|cef\w{2,8}|zine)$"
)

_DISEASE_ENDING = re.compile(
    r"(?:itis|osis|a?emia|oma|opathy|algia|pnea|rrhea|rrhoea|uria|plegia|paresis|phobia|trophy|plasia|sclerosis|ectasis|iasis|cele|lithiasis)$"
)

_NOT_DISEASES = frozenset(("diagnosis", "prognosis", "coma", "aroma", "diploma"))


def is_drug(word: str) -> bool:
    """Returns whether a word names a medicine or a class of medicines."""
    word = word.lower()
    if word in _read_drugs():
        return True
    return len(word) > 6 and bool(_DRUG_ENDING.search(word)) and word not in read_ordinary_words()


def is_disease(word: str) -> bool:
    """Returns whether a word names a disease."""
    word = word.lower()
    if word in _read_diseases():
        return True
    return len(word) > 5 and bool(_DISEASE_ENDING.search(word)) and word not in _NOT_DISEASES


@cache
def _read_drugs() -> frozenset[str]:
    return _read_list("drugs")


@cache
def _read_diseases() -> frozenset[str]:
    return _read_list("diseases")


def _read_list(name: str) -> frozenset[str]:
    return make_word_set(read_yaml(PATH)[name])
