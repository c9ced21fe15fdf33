"""Detection of messages that are not in English, the only language that the rules know."""

from __future__ import annotations

from lightning_med.privacy.word_lists import is_ordinary, make_word_set
from lightning_med.safety.medical_terms import is_disease, is_drug
from lightning_med.safety.messages.normalization import compute_foreign_share, normalize
from lightning_med.safety.messages.word_split import Word

_MIN_WORDS = 4  # for a decision by share; of fewer words one must be English
_MIN_ENGLISH_SHARE = 0.4
_MAX_FOREIGN_SHARE = 0.3
_COMMON = make_word_set(
    "i my me is am are was the a to and of in for it have has not you he she what do can with on how why when help"
)


def is_english(text: str, words: list[Word]) -> bool:
    """Returns whether a message may be English.

    Args:
        text: The message as typed.
        words: Its words.
    """
    if compute_foreign_share(normalize(text[:2000])) > _MAX_FOREIGN_SHARE:
        return False
    candidates = [word.text for word in words[:400] if word.text.isalpha()]
    known = sum(word in _COMMON or is_ordinary(word) or is_drug(word) or is_disease(word) for word in candidates)
    if len(candidates) < _MIN_WORDS:
        return known > 0 or not candidates
    return known / len(candidates) >= _MIN_ENGLISH_SHARE
