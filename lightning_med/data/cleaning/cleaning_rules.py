"""Cleaning rules: each a small pure function on a frame of consultations.

A rule that mends takes a text and gives it back mended; one that drops takes a frame and says which rows. Whichever
texts a rule could touch at all is decided for a whole column at once by a regular expression in linear time (RE2), so
that a rule costs next to nothing on clean text. No rule touches a number: doses, units, blood pressures, ages and
laboratory values come out as they came in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from html import unescape
from html.entities import html5
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lightning_med.data.cleaning.chat_doctor import CHAT_DOCTOR, repair_chat_doctor
from lightning_med.safety.answers.guard import unsafe_advice_pattern
from lightning_med.tokenization.text_normalization import normalize_whitespace

COLUMNS = ("question", "answer")
MIN_WORDS = 5  # of an answer that teaches anything


def _drop_none(frame: pd.DataFrame) -> np.ndarray:
    return np.zeros(len(frame), dtype=bool)


@dataclass(frozen=True)
class Rule:
    """A cleaning rule.

    Attributes:
        name: What it is switched by.
        effect: `drops` rows or `mends` texts.
        default: Whether it is on unless a setting says otherwise. A rule that drops and is off still counts.
        says: What it does, for help texts and the report.
        suspect: For a rule that mends: an RE2 pattern; texts without a match stay as they are.
        repair: For a rule that repairs: returns the repaired text.
        condemn: For a rule that drops: `[rows]`, bool.
    """

    name: str
    effect: Literal["drops", "repairs"]
    default: bool
    says: str
    suspect: str = ""
    repair: Callable[[str], str] = str
    condemn: Callable[[pd.DataFrame], np.ndarray] = _drop_none


def find_matching(texts: pd.Series, pattern: str) -> np.ndarray:
    """`[rows]`, bool: which texts the RE2 pattern matches somewhere."""
    column = pa.array(texts, pa.large_string(), from_pandas=True)
    return pc.match_substring_regex(column, pattern).fill_null(False).to_numpy(zero_copy_only=False)


def repair_column(texts: pd.Series, rule: Rule) -> tuple[pd.Series, np.ndarray]:
    """A column after a rule, and which of its texts the rule changed."""
    changed = find_matching(texts, rule.suspect)
    places = np.flatnonzero(changed)
    if not len(places):
        return texts, changed
    values = texts.to_numpy(dtype=object, copy=True)
    for place in places:
        text = rule.repair(values[place])
        changed[place] = text != values[place]
        values[place] = text
    return pd.Series(values, index=texts.index, dtype=texts.dtype), changed


# ---------------------------------------------------------------------- mending
# White space in these patterns is ASCII's: RE2, which picks the texts, knows no other.

_PASSES = 10


def repair_until_stable(repair: Callable[[str], str]) -> Callable[[str], str]:
    """Mends what mending brought to light too. A text of more than `_PASSES` layers stays as it was."""

    @wraps(repair)
    def until_settled(text: str) -> str:
        last = text
        for _ in range(_PASSES):
            after = repair(last)
            if after == last:
                return after
            last = after
        return text

    return until_settled


_INVISIBLE = re.compile("[\u200b\u2060\ufeff\u00ad\u202a-\u202e\u2066-\u2069\u200e\u200f]")
_JOINERS = re.compile("(?<![^\x00-\x7f])[\u200c\u200d]+(?![^\x00-\x7f])")  # between other letters they have a meaning
_SPLIT_NUMBERS = re.compile("(?<=\\d)[\u200b\u2060\ufeff]+(?=\\d)")  # two numbers, never one
_SOFT_RANGE = re.compile(r"(?<=\d)\xad+(?=\d)")  # a hyphen to those who wrote "2\xad3 times"


def repair_invisible(text: str) -> str:
    """Without signs that no one sees and that split words or turn their direction."""
    text = _SPLIT_NUMBERS.sub(" ", _SOFT_RANGE.sub("-", text))
    return _JOINERS.sub("", _INVISIBLE.sub("", text))


def repair_mojibake(text: str) -> str:
    """UTF-8 that was once read as Latin-1 or Windows-1252, read right (ftfy)."""
    import ftfy

    return ftfy.fix_encoding(text)


_VALUE = r"""(?:"[^"<>]{0,300}"|'[^'<>]{0,300}'|[^\s<>]{1,300})"""
_ATTRIBUTE = rf"\s{{1,9}}[a-z][a-z:-]{{0,30}}\s{{0,3}}=\s{{0,3}}{_VALUE}"
_TAG = rf"<\s{{0,3}}/?\s{{0,3}}(?:%s)(?:{_ATTRIBUTE}){{0,20}}\s{{0,3}}/?\s{{0,3}}>"  # not "a <b and c> d"
_BLOCKS = re.compile(_TAG % "p|br|div|tr|li|ul|ol|table|h[1-6]|hr|blockquote|pre", re.I | re.A)
_CELLS = re.compile(_TAG % "td|th|tbody|img", re.I | re.A)
_INLINE = re.compile(_TAG % "b|i|u|em|strong|span|font|a|small|code|center", re.I | re.A)
_RAISED = re.compile(rf"{_TAG % 'sup'}([^<>]{{1,40}})<\s*/\s*sup\s*>", re.I | re.A)
_LOWERED = re.compile(rf"{_TAG % 'sub'}([^<>]{{1,40}})<\s*/\s*sub\s*>", re.I | re.A)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|([A-Za-z][A-Za-z0-9]{1,31}));")


@repair_until_stable
def repair_html(text: str) -> str:
    """Without tags and entities. A power stays one, `10<sup>9</sup>` becomes `10^9`; cells of a table stay apart."""
    text = _ENTITY.sub(lambda found: found[0] if found[1] and f"{found[1]};" not in html5 else unescape(found[0]), text)
    if "<" not in text:
        return text
    text = _RAISED.sub(lambda found: _restore_superscript(found[1].strip()), text)
    text = _LOWERED.sub(lambda found: f"{'_' * text[: found.start()][-1:].isdigit()}{found[1].strip()}", text)
    return _INLINE.sub("", _CELLS.sub(" ", _BLOCKS.sub("\n", text)))


def _restore_superscript(text: str) -> str:
    return text if text.lower() in ("", "st", "nd", "rd", "th") else f"^{text}"


_LINK = re.compile(
    r"(?:(?<=online)[\s.]+)?\s*(?:-{1,3}>|→)\s*(?:<link>|\[URL\]|https?://\S+|www\.\S+)[\s.]*(?:take care[\s.!]*)?$",
    re.I,
)
_SENTENCE = re.compile(r"[.?!…:;](?!\w)|\n")
_AND_CONSULT = re.compile(r"[\s,]+and\s+(?=(?:please |kindly )?(?:consult|revert|get back|visit|click)\b)", re.I)
_INVITING = re.compile(
    r"\b(?:online|consult|revert|get back|click|visit|follow[ -]?up|(?:read|for|know) (?:more|further)|read this)\b",
    re.I,
)
_FOOTER = 220  # characters of the longest


@repair_until_stable
def remove_advertising(text: str) -> str:
    """Without a footer that sends the reader to an online consultation: an arrow and a link at the very end.

    Its sentence goes too, if it is an invitation and holds no number; of any other only the arrow and the link go.
    """
    link = _LINK.search(text, max(len(text) - 2 * _FOOTER, 0))
    if not link:
        return text
    end = len(text[: link.start()].rstrip())
    start = max((found.end() for found in _SENTENCE.finditer(text, max(end - _FOOTER, 0), end)), default=0)
    if found := _AND_CONSULT.search(text, start, end):
        start = found.start()
    footer = text[start:end]
    if len(footer) <= _FOOTER and _INVITING.search(footer) and not any(sign.isnumeric() for sign in footer):
        end = start
    kept = text[:end].rstrip()
    return f"{kept}." if kept[-1:].isalnum() else kept


_LOST = re.compile(
    r"(?<=[a-zA-Z]) (t(?! (?:waves?|cells?)\b)|m|s|ve|ll|re(?!-)|T(?! (?:WAVES?|CELLS?)\b)|S|VE|LL|RE)\b"
)
_BEFORE_LOST = {
    "t": re.compile("(?:do|does|did|is|was|are|were|have|has|had|ca|could|should|would|wo|must|need)n"),
    "m": re.compile("i"),
    "s": re.compile("it|that|there|he|she|what"),
    "ve": re.compile("i|you|we|they"),
    "ll": re.compile("i|you|we|they|he|she|it"),
    "re": re.compile("you|we|they"),
}


def repair_apostrophes(text: str) -> str:
    """`don t` becomes `don't`, where nothing else can be meant: "can T cells" are others."""

    def joined(found: re.Match[str]) -> str:
        word, lost = text[max(found.start() - 10, 0) : found.start()].rsplit(None, 1)[-1].lstrip("(\"'.,"), found[1]
        meant = _BEFORE_LOST[lost.lower()].fullmatch(word.lower()) and (lost.islower() or word.isupper())
        return f"'{lost}" if meant else found[0]

    return _LOST.sub(joined, text)


_GLUED = re.compile(r"(?<=[a-z)\]\"'])(?:[.?!]{1,3}|[,;:])(?=[A-Z][a-z]|I\b)")
_ADDRESS = re.compile(r"[@/]|www\.|\.(?:com|org|net|edu)\b", re.I)
_LONGEST_WORD = 200


def split_glued_sentences(text: str) -> str:
    """A space after a sentence that the next one was glued to: `pain.Take rest` becomes `pain. Take rest`."""

    def parted(found: re.Match[str]) -> str:
        before, after = text[max(found.start() - _LONGEST_WORD, 0) : found.start()], text[found.end() :][:_LONGEST_WORD]
        word = f"{before.rpartition(' ')[2]}{found[0]}{after.partition(' ')[0]}"
        whole = before[-2:-1].islower() or before[-1] in ")]\"'"  # not "B.Sc" or "Ph.D"
        return found[0] if not whole or _ADDRESS.search(word) else f"{found[0]} "

    return _GLUED.sub(parted, text)


# ---------------------------------------------------------------------- dropping

# What `str.split` splits at, but for the space itself.
_SPACES = r"\t-\r\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
_DANGLING = (
    r"(?:…|\.\.\.|\(|\b(?:and|or|the|a|an|of|to|with|for|in|is|are|your|that|which|if|by|from|as|at|but|because"
    r"|may|can|will|should))\s*$"
)


def is_missing(frame: pd.DataFrame) -> np.ndarray:
    """No question or no answer."""
    return frame[list(COLUMNS)].isna().any(axis=1).to_numpy()


def is_blank(frame: pd.DataFrame) -> np.ndarray:
    """A question or an answer of nothing but white space."""
    return ~(find_matching(frame["question"], f"[^ {_SPACES}]") & find_matching(frame["answer"], f"[^ {_SPACES}]"))


def is_too_short(frame: pd.DataFrame) -> np.ndarray:
    """An answer under `MIN_WORDS` words, or characters where a script has no spaces; not within a conversation."""
    enough = rf"^\s*\S+(?:\s+\S+){{{MIN_WORDS - 1}}}|[\p{{Han}}\p{{Hiragana}}\p{{Katakana}}\p{{Thai}}]{{{MIN_WORDS}}}"
    short = ~find_matching(frame["answer"], enough)
    return short if "turns" not in frame else short & (frame["turns"] == 1).to_numpy(dtype=bool)


def is_cut(frame: pd.DataFrame) -> np.ndarray:
    """An answer that stops in mid-sentence."""
    return find_matching(frame["answer"], "(?i)" + _DANGLING)


def has_lost_words(frame: pd.DataFrame) -> np.ndarray:
    """A placeholder still stands where words once stood."""
    return find_matching(frame["question"], CHAT_DOCTOR) | find_matching(frame["answer"], CHAT_DOCTOR)


def has_unsafe_advice(frame: pd.DataFrame) -> np.ndarray:
    """An answer that talks a patient out of care, or abuses, by the rules that guard a model's answers."""
    return find_matching(frame["answer"], unsafe_advice_pattern())


_SUSPECT_WHITESPACE = rf"^ | $|  |[{_SPACES}]"

RULES = (
    Rule("missing", "drops", True, "no question or no answer", condemn=is_missing),
    Rule("html", "repairs", True, "HTML tags and entities", r"<\s*/?\s*[a-zA-Z]|&[#a-zA-Z][a-zA-Z0-9]*;", repair_html),
    Rule("mojibake", "repairs", True, "characters read in a wrong encoding", r"[^\x00-\x7f]", repair_mojibake),
    Rule(
        "invisible",
        "repairs",
        True,
        "zero-width signs and signs that turn the direction of writing",
        "[\u200b-\u200f\u2060\ufeff\u00ad\u202a-\u202e\u2066-\u2069]",
        repair_invisible,
    ),
    Rule("advertising", "repairs", True, "advertising footers", "->|→", remove_advertising),
    Rule(
        "chat_doctor",
        "repairs",
        True,
        "the placeholder “Chat Doctor” where nothing is lost",
        CHAT_DOCTOR,
        repair_until_stable(repair_chat_doctor),
    ),
    Rule(
        "apostrophes",
        "repairs",
        True,
        "lost apostrophes",
        r"(?i)[a-z]n t\b|\bi (?:m|ve|ll)\b|\b(?:it|that|there|he|she|what) s\b|\b(?:you|they|we) (?:re|ve|ll)\b",
        repair_apostrophes,
    ),
    Rule(
        "glued_sentences",
        "repairs",
        True,
        "sentences without a space between them",
        r"[a-z)\]\"'][.?!,;:]+[A-Z]",
        split_glued_sentences,
    ),
    Rule("whitespace", "repairs", True, "outer and repeated white space", _SUSPECT_WHITESPACE, normalize_whitespace),
    Rule("blank", "drops", True, "nothing but white space", condemn=is_blank),
    Rule("too_short", "drops", True, f"an answer under {MIN_WORDS} words", condemn=is_too_short),
    Rule("cut_answer", "drops", False, "an answer that stops in mid-sentence", condemn=is_cut),
    Rule("lost_words", "drops", False, "“Chat Doctor” where words are gone", condemn=has_lost_words),
    Rule(
        "unsafe_advice",
        "drops",
        False,
        "advice against seeking care, or abuse, in an answer",
        condemn=has_unsafe_advice,
    ),
)
DUPLICATE = "duplicate"  # needs all rows, so it is no function of a frame
