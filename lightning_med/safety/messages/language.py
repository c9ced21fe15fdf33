"""Whether a message is English: the rules know no other language."""

from __future__ import annotations

from lightning_med.privacy.common_words import is_ordinary, make_word_set
from lightning_med.safety.medical_terms import is_disease, is_drug
from lightning_med.safety.messages.normalization import count_foreign_letters, normalize
from lightning_med.safety.messages.word_split import Word

_FEWEST = 4  # words; fewer tell no language
_KNOWN = 0.4  # share of English words below which a message is another language's
_COMMON = make_word_set(
    "i my me is am are was the a to and of in for it have has not you he she what do can with on how why when help"
)


def is_english(text: str, message: list[Word]) -> bool:
    """Whether a message may be English; of very few words one must be.

    Args:
        text: As it was typed.
        message: Its words.
    """
    if count_foreign_letters(normalize(text[:2000])) > 0.3:
        return False
    spoken = [word.text for word in message[:400] if word.text.isalpha()]
    known = sum(word in _COMMON or is_ordinary(word) or is_drug(word) or is_disease(word) for word in spoken)
    if len(spoken) < _FEWEST:
        return known > 0 or not spoken
    return known / len(spoken) >= _KNOWN
