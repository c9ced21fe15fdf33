"""Words of a message in plain writing: cut, contractions joined, short forms written out."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CUT = re.compile(r"([a-z0-9]+(?:'[a-z]+)*)|(\d*[.,]\d+)|([.!?\n;…]+|,|:|[()\[\]]|-{2,}|[–—])")
_JOINED = {
    "u": "you", "ur": "your", "r": "are", "pls": "please", "plz": "please", "wat": "what", "coz": "because",
    "cuz": "because", "bcoz": "because", "bc": "because", "bcz": "because", "b4": "before", "2day": "today",
    "2nite": "tonight", "2moro": "tomorrow", "tmrw": "tomorrow", "gonna": "going to", "wanna": "want to",
    "gotta": "have to", "dunno": "dont know", "rn": "right now", "atm": "right now", "thru": "through",
    "w": "with", "cannot": "cant", "hrs": "hours", "hr": "hour", "mins": "minutes", "min": "minute",
    "yrs": "years", "yr": "year", "yo": "year old", "wks": "weeks", "wk": "week", "mths": "months", "mth": "month",
    "ppl": "people", "hav": "have", "hv": "have", "didn": "didnt", "doesn": "doesnt", "isn": "isnt",
    "wasn": "wasnt", "aint": "isnt", "hes": "he is", "shes": "she is", "theyre": "they are", "im": "i am",
    "ive": "i have", "id": "i would", "tho": "though", "sum1": "someone", "smth": "something", "abt": "about",
    "wen": "when", "wiv": "with", "da": "the",
}  # fmt: skip
_HELPERS = {
    "can": "cant", "could": "couldnt", "do": "dont", "does": "doesnt", "did": "didnt", "is": "isnt",
    "are": "arent", "was": "wasnt", "were": "werent", "will": "wont", "would": "wouldnt", "has": "hasnt",
    "have": "havent", "had": "hadnt", "should": "shouldnt",
}  # fmt: skip
_TAILS = {"'m": "am", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would"}
_THIRD = frozenset(("it", "that", "there", "what", "he", "she", "who", "where", "here", "this"))
_LONG = re.compile(r"([a-z])\1{2,}")
_UNIT = re.compile(
    r"(\d+)(hours?|hrs?|minutes?|mins?|days?|weeks?|wks?|months?|mths?|years?|yrs?|yo|am|pm|mg|ml|f|m|c|st|nd|rd|th|g|kg|cm)"
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word or a sign, and where the message in plain writing has it.

    Attributes:
        text: In small letters, without apostrophes. A sign is one of `.`, `,`, `:` and `(`.
        start, end: Of the piece it was read from.
    """

    text: str
    start: int
    end: int


def split_words(text: str) -> list[Word]:
    """The words and signs of a text in plain writing."""
    found: list[Word] = []
    for piece in _CUT.finditer(text):
        start, end = piece.span()
        word, number, _ = piece.groups()
        if number is not None:
            found.append(Word(number.lstrip("."), start, end))
        elif word is None:
            sign = piece[0][0]
            found.append(
                Word("." if sign in ".!?\n;…" else "," if sign in ",-–—" else ":" if sign == ":" else "(", start, end)
            )
        else:
            for part in _split_parts(word):
                if part == "not" and found and found[-1].text in _HELPERS:
                    found[-1] = Word(_HELPERS[found[-1].text], found[-1].start, end)
                else:
                    found.append(Word(part, start, end))
    return found


def _split_parts(word: str) -> list[str]:
    """A written word as the words it stands for: `she's` is `she is`, `gonna` is `going to`."""
    if len(word) > 2 and word.isalpha():
        word = _LONG.sub(r"\1\1", word)
    if "'" in word:
        for tail, said in _TAILS.items():
            if word.endswith(tail):
                return [
                    *_split_parts(word[: -len(tail)].replace("'", "")),
                    said,
                ]  # one tail; more of them are no English
        if word.endswith("'s"):
            whose = word[:-2]
            return [whose, "is"] if whose in _THIRD else [whose]
        word = word.replace("'", "")
    if word[:1].isdigit() and (unit := _UNIT.fullmatch(word)):
        return [unit[1], *_split_parts(unit[2])]
    return _JOINED[word].split() if word in _JOINED else [word]
