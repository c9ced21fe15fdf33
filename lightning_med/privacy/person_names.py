"""Names of people within a text: after a title, after "my name is" or "I am", and of relatives ("my wife Kavita")."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lightning_med.privacy.cue_search import LETTERS, find_cues
from lightning_med.privacy.name_parser import GAP, TITLE, begins_with_given_name, find_name_end
from lightning_med.privacy.word_lists import is_ordinary

RELATIVES = (
    "mother|father|mom|mum|dad|wife|husband|son|daughter|brother|sister|partner|fiancee?|girlfriend|boyfriend|friend|cousin"
    "|uncle|aunt|niece|nephew|grandmother|grandfather|grandson|granddaughter|child|kid|baby|relative|patient"
)
_TITLED = re.compile(
    rf"(?<![{LETTERS}'’])(?P<title>Mrs?|Ms|Miss|Mx|Mister|Dr|Prof|Professor|Doctor|MRS?|DR|PROF|MISS|mrs?|ms|dr|prof)"
    rf"(?:\.|(?![{LETTERS}'’])){GAP}{{0,2}}(?=[{LETTERS}])"
)
_DETERMINED = re.compile(r"(?i:\b(?:the|my|an?|his|her|our|your|their|another|this|that|family|any|good))\s+\Z")
_INTRODUCED = re.compile(
    rf"(?<![{LETTERS}'’])(?i:(?:my|his|her|(?:{RELATIVES})(?:['’]?s)?|full|first|last|real)\s?name"
    rf"(?:['’]?s(?![{LETTERS}])|{GAP}s(?![{LETTERS}]))?{GAP}*(?:(?:is|iz)(?![{LETTERS}])|[:=-])?|(?<![^\n.;,]){GAP}?name{GAP}*[:=]|call{GAP}me|myself)"
    rf"{GAP}{{0,3}}[:-]?{GAP}{{0,2}}{TITLE}"
)
_I_AM = re.compile(rf"(?<![{LETTERS}'’])(?i:i{GAP}am|i['’ ]?m|iam|this{GAP}is|here{GAP}is)\s{{1,3}}{TITLE}")
_AFTER_NAME = re.compile(
    rf"\s?(?:[,.(!\n\d\x00]|\Z)|{GAP}+(?i:from|and|here|age|aged|an?|i|im|my)(?![{LETTERS}])|{GAP}+in{GAP}+(?=[A-Z])"
)
_FULL_NAME = re.compile(
    rf"(?P<first>[A-Z][a-z]+)(?:{GAP}(?P<last>[A-Z][{LETTERS}'’-]+)(?=\s?(?:[,.!\n]|\Z))|(?={GAP}(?:from|in){GAP}+[A-Z]))"
)
_RELATIVE = re.compile(
    rf"(?<![{LETTERS}'’])(?i:(?:(?:my|our|his|her){GAP}(?:[\w-]{{1,10}}{GAP}){{0,3}})(?:{RELATIVES})|patient),?{GAP}{{1,2}}(?=[A-Z])"
)


def find_introduced(text: str, low: str) -> Iterator[tuple[int, int]]:
    """Yields names after "my name is", "name:", "call me" and "myself"."""
    if not any(word in low for word in ("name", "call me", "myself")):
        return
    for cue in _INTRODUCED.finditer(text):
        start, words = cue.end(), cue[0].lower()
        sure = not words.startswith(("call", "myself")) or text[start].isupper()
        end = find_name_end(text, start, sure, bool(cue["title"]) or "name" in words)
        if end > start:
            yield start, end


def find_after_i_am(text: str, low: str) -> Iterator[tuple[int, int]]:
    """Yields names after "I am" and "this is": a given name, any name after a title, or a full name."""
    for place in find_cues(low, ("i am", "i'm", "i’m", "i m", "im", "iam", "this is", "here is")):
        cue = _I_AM.match(text, place)
        if not cue:
            continue
        start, titled = cue.end(), bool(cue["title"])
        end = find_name_end(text, start, titled, titled)
        if end > start and (titled or _AFTER_NAME.match(text, end)):
            yield start, end
        elif cue[0][0] in "Ii" and (full := _match_full_name(text, start)):
            yield full


def _match_full_name(text: str, start: int) -> tuple[int, int] | None:
    """A name without a known given name: "Zuri Fanta.", "Zuri from Lagos"."""
    match = _FULL_NAME.match(text, start)
    if not match or any(word and is_ordinary(word) for word in match.group("first", "last")):
        return None
    return match.span()


def find_relatives(text: str, low: str) -> Iterator[tuple[int, int]]:
    """Yields given names after relatives: "my wife Kavita", "our 5 year old son Jay"."""
    for place in find_cues(low, ("my ", "our ", "his ", "her ", "patient ")):
        cue = _RELATIVE.match(text, place)
        end = find_name_end(text, cue.end(), sure=False) if cue else 0
        if cue and end > cue.end():
            yield cue.end(), end


def find_titled(text: str, low: str) -> Iterator[tuple[int, int]]:
    """Yields names after a title: "Mrs Smith", "Dr. A. K. Gupta"; in lower case only given names ("dr shanta")."""
    for place in find_cues(low, ("mr", "ms", "miss", "mx", "dr", "prof", "doctor", "mister")):
        cue = _TITLED.match(text, place)
        if not cue:
            continue
        start, title = cue.end(), cue["title"]
        shouted = title in ("MR", "MS", "DR", "MRS", "PROF", "MISS") and text[start : start + 3].isupper()
        sentence_end = (
            cue[0].rstrip().endswith(".")
            and title.islower()
            and _DETERMINED.search(text, max(cue.start() - 12, 0), cue.start())
        )
        if title == "Doctor" and ("." in cue[0] or low.endswith("chat ", 0, place)):
            continue  # "Thanks for using Chat Doctor White spots are …"
        sure = text[start].isupper() and not shouted and not sentence_end
        end = find_name_end(text, start, sure, sure)
        if end > start and (sure or begins_with_given_name(text, start, end) or "." in text[start : start + 2]):
            yield start, end
