"""Lost apostrophes, and lost spaces between sentences."""

from __future__ import annotations

import re

_LOST_APOSTROPHE = re.compile(
    r"(?<=[a-zA-Z]) (t(?! (?:waves?|cells?)\b)|m|s|ve|ll|re(?!-)|T(?! (?:WAVES?|CELLS?)\b)|S|VE|LL|RE)\b"
)
_BEFORE_ENDING = {
    "t": re.compile("(?:do|does|did|is|was|are|were|have|has|had|ca|could|should|would|wo|must|need)n"),
    "m": re.compile("i"),
    "s": re.compile("it|that|there|he|she|what"),
    "ve": re.compile("i|you|we|they"),
    "ll": re.compile("i|you|we|they|he|she|it"),
    "re": re.compile("you|we|they"),
}


def repair_apostrophes(text: str) -> str:
    """Restores apostrophes that became spaces, as in `don t`, where nothing else can be meant, as in "can T cells"."""

    def join(match: re.Match[str]) -> str:
        word = text[max(match.start() - 10, 0) : match.start()].rsplit(None, 1)[-1].lstrip("(\"'.,")
        ending = match[1]
        fits = _BEFORE_ENDING[ending.lower()].fullmatch(word.lower()) and (ending.islower() or word.isupper())
        return f"'{ending}" if fits else match[0]

    return _LOST_APOSTROPHE.sub(join, text)


_GLUED = re.compile(r"(?<=[a-z)\]\"'])(?:[.?!]{1,3}|[,;:])(?=[A-Z][a-z]|I\b)")
_ADDRESS = re.compile(r"[@/]|www\.|\.(?:com|org|net|edu)\b", re.I)
_MAX_WORD = 200


def split_glued_sentences(text: str) -> str:
    """Inserts the missing space between two sentences: `pain.Take rest` becomes `pain. Take rest`."""

    def split(match: re.Match[str]) -> str:
        before, after = text[max(match.start() - _MAX_WORD, 0) : match.start()], text[match.end() :][:_MAX_WORD]
        word = f"{before.rpartition(' ')[2]}{match[0]}{after.partition(' ')[0]}"
        ends_word = before[-2:-1].islower() or before[-1] in ")]\"'"  # unlike "B.Sc" or "Ph.D"
        return f"{match[0]} " if ends_word and not _ADDRESS.search(word) else match[0]

    return _GLUED.sub(split, text)
