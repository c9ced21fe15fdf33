"""Parsing of a name at a place that a cue gives: where it ends.

The more certain the cue, the less a word must look like a name: after "Mrs" any capitalized word will do that is not
ordinary English, after "I am" only a given name.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from lightning_med.privacy.cue_search import LETTERS
from lightning_med.privacy.word_lists import is_ordinary, make_word_set, read_given_names

GAP = r"[ \t\xa0]"
_TITLES = "mr|mrs|ms|miss|mx|mme|mister|dr|prof|professor|doctor|doc"
TITLE = rf"(?:(?P<title>(?i:{_TITLES}))(?:\.|(?![{LETTERS}'’])){GAP}{{0,2}})?(?=[{LETTERS}])"
_TOKEN = re.compile(
    rf"(?:[A-Z]\.{GAP}?){{1,4}}(?=[A-Z][{LETTERS}])|[{LETTERS}]{{1,30}}(?:['’-][{LETTERS}]{{1,20}}){{0,2}}"
)
_WORD = re.compile(rf"[{LETTERS}]+")
_SPACE = re.compile(rf"{GAP}{{0,3}}")
_GLUED_WORD = re.compile(r"([A-Z]?[a-z]{2,})([A-Z][a-z]*)\Z")
_INITIAL = re.compile(r"[A-HJ-Z](?=\.?\s*(?:\n|\Z|,))")
_PUNCTUATION = re.compile(r"\s{0,2}(?:[^\s\w]|\Z)")
_CONTRACTIONS = ("n't", "n’t", "'m", "’m", "'ve", "’ve", "'ll", "’ll", "'re", "’re", "'d", "’d")
_NAMES_AND_WORDS = make_word_set(
    "hope mark bill grace rose don gene harsh ray max ivy vera pat joy eve rob sue kiran dawn"
)
_SURNAMES = make_word_set(
    "brown green white young black wood woods hill king cook day west north stone bell gray grey cross fish "
    "fox field price rice bishop carter baker mason park parks pope power powers savage sharp silver small "
    "snow strong summers waters webb wells winter wise gold hall long short lamb bush rivers banks graves "
    "wilson morton cooper best bright wall ball may march brook church temple walker miller"
)


class NameSpan(NamedTuple):
    """A name, and what is removed with it from an answer (`None`: a placeholder replaces the name alone)."""

    start: int
    end: int
    removed: tuple[int, int] | None = None


def find_name_end(text: str, start: int, sure: bool, titled: bool = False) -> int:
    """Returns the end of the name that begins at a place, or `start` if none does.

    Args:
        text: Any text.
        start: Of the name's first letter.
        sure: The cue is certain: any word that is not ordinary English is a name. Otherwise it must begin with a given
            name.
        titled: A title or "my name is" precedes it: "Dr Brown" is a name though "brown" is a word.
    """
    end, place, first, lower = start, start, True, text[start : start + 1].islower()
    for _ in range(2 if lower else 4):
        token = _TOKEN.match(text, place)
        if not token:
            break
        length = _measure_name(
            token[0], sure or not first, titled or not first, lower, text[start : place - 1].isupper()
        )
        if not length:
            if not first and _INITIAL.match(text, place):
                end = place + 1  # "Betty B."
            break
        if first and not titled and token[0].lower() in _NAMES_AND_WORDS and not _is_followed(text, place + length):
            break  # "Hope this helps"
        end = place + length
        first = first and "." in token[0]
        if length < len(token[0]):
            break
        place = _skip_space(text, end)
    return start if first else end


def _skip_space(text: str, place: int) -> int:
    return _SPACE.match(text, place).end()  # type: ignore[union-attr]


def _is_followed(text: str, place: int) -> bool:
    """Whether punctuation or a surname follows a given name that is also a word."""
    surname = _TOKEN.match(text, _skip_space(text, place))
    return bool(_PUNCTUATION.match(text, place)) or (
        surname is not None and surname[0].istitle() and not is_ordinary(surname[0])
    )


def _measure_name(token: str, sure: bool, titled: bool, lower: bool, shouted: bool) -> int:
    """How many of a token's characters belong to a name; 0 if it is not a name."""
    if "." in token:
        return len(token)
    word = token[:-2] if token.endswith(("'s", "’s")) else token
    glued = _GLUED_WORD.match(word)
    if glued and is_ordinary(glued[2]):
        word = glued[1]  # "my name is juliaI have"
    low = word.lower()
    known = low in read_given_names()
    if word.endswith(_CONTRACTIONS) or (word[0].islower() and not lower) or (len(word) == 1 and not word.isupper()):
        return 0
    if is_ordinary(word) and not (titled and low in _SURNAMES and word[0].isupper()):
        return 0
    if word.isupper() and len(word) <= 5 and not (known or titled or shouted):
        return 0  # an acronym
    return len(word) if known or sure else 0


def begins_with_given_name(text: str, start: int, end: int) -> bool:
    """Returns whether the first word of a name is a known given name."""
    word = _WORD.match(text, start, end)
    return word is not None and word[0].lower() in read_given_names()
