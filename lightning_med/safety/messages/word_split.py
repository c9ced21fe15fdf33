"""Splitting of a normalized message into words; short forms are written out, contractions joined."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(r"([a-z0-9]+(?:'[a-z]+)*)|(\d*[.,]\d+)|([.!?\n;…]+|,|:|[()\[\]]|-{2,}|[–—])")
_SHORT_FORMS = {
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
_NEGATED_FORMS = {
    "can": "cant", "could": "couldnt", "do": "dont", "does": "doesnt", "did": "didnt", "is": "isnt",
    "are": "arent", "was": "wasnt", "were": "werent", "will": "wont", "would": "wouldnt", "has": "hasnt",
    "have": "havent", "had": "hadnt", "should": "shouldnt",
}  # fmt: skip
_CONTRACTIONS = {"'m": "am", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would"}
_BEFORE_IS = frozenset(("it", "that", "there", "what", "he", "she", "who", "where", "here", "this"))  # "it's"
_REPEATED_LETTER = re.compile(r"([a-z])\1{2,}")
_NUMBER_AND_UNIT = re.compile(
    r"(\d+)(hours?|hrs?|minutes?|mins?|days?|weeks?|wks?|months?|mths?|years?|yrs?|yo|am|pm|mg|ml|f|m|c|st|nd|rd|th|g|kg|cm)"
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word or a punctuation mark of a normalized message.

    Attributes:
        text: In lower case, without apostrophes. A punctuation mark is one of `.`, `,`, `:` and `(`.
        start, end: Of the characters it was read from.
    """

    text: str
    start: int
    end: int


def split_words(text: str) -> list[Word]:
    """Splits a normalized text into words and punctuation marks."""
    words: list[Word] = []
    for token in _TOKEN.finditer(text):
        start, end = token.span()
        written, number, _ = token.groups()
        if number is not None:
            words.append(Word(number.lstrip("."), start, end))
        elif written is None:
            words.append(Word(_simplify_mark(token[0][0]), start, end))
        else:
            for part in _split_parts(written):
                if part == "not" and words and words[-1].text in _NEGATED_FORMS:
                    words[-1] = Word(_NEGATED_FORMS[words[-1].text], words[-1].start, end)
                else:
                    words.append(Word(part, start, end))
    return words


def _simplify_mark(mark: str) -> str:
    return "." if mark in ".!?\n;…" else "," if mark in ",-–—" else ":" if mark == ":" else "("


def _split_parts(word: str) -> list[str]:
    """The words that a written word stands for: `she's` is `she is`, `gonna` is `going to`."""
    if len(word) > 2 and word.isalpha():
        word = _REPEATED_LETTER.sub(r"\1\1", word)
    if "'" in word:
        for ending, verb in _CONTRACTIONS.items():
            if word.endswith(ending):  # only the last contraction of a word is read
                return [*_split_parts(word[: -len(ending)].replace("'", "")), verb]
        if word.endswith("'s"):
            stem = word[:-2]
            return [stem, "is"] if stem in _BEFORE_IS else [stem]
        word = word.replace("'", "")
    if word[:1].isdigit() and (match := _NUMBER_AND_UNIT.fullmatch(word)):
        return [match[1], *_split_parts(match[2])]
    return _SHORT_FORMS[word].split() if word in _SHORT_FORMS else [word]
