"""Names of people where a cue gives them away: a title, "my name is", "I am".

The surer the cue, the less a word must look like a name: after "Mrs" any capitalised word will do that is not ordinary
English, after "I am" only a given name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lightning_med.privacy.common_words import is_ordinary, make_word_set, read_given_names
from lightning_med.privacy.cue_search import LETTERS as L
from lightning_med.privacy.cue_search import find_cues

GAP = r"[ \t\xa0]"
_TITLES = "mr|mrs|ms|miss|mx|mme|mister|dr|prof|professor|doctor|doc"
TITLE = rf"(?:(?P<title>(?i:{_TITLES}))(?:\.|(?![{L}'’])){GAP}{{0,2}})?(?=[{L}])"
_TOKEN = re.compile(rf"(?:[A-Z]\.{GAP}?){{1,4}}(?=[A-Z][{L}])|[{L}]{{1,30}}(?:['’-][{L}]{{1,20}}){{0,2}}")
_WORD = re.compile(rf"[{L}]+")
_SPACE = re.compile(rf"{GAP}{{0,3}}")
_GLUED = re.compile(r"([A-Z]?[a-z]{2,})([A-Z][a-z]*)\Z")
_INITIAL = re.compile(r"[A-HJ-Z](?=\.?\s*(?:\n|\Z|,))")
_SIGN = re.compile(r"\s{0,2}(?:[^\s\w]|\Z)")
_VERBS = ("n't", "n’t", "'m", "’m", "'ve", "’ve", "'ll", "’ll", "'re", "’re", "'d", "’d")
_WORDS_TOO = make_word_set("hope mark bill grace rose don gene harsh ray max ivy vera pat joy eve rob sue kiran dawn")
_SURNAMES = make_word_set(
    "brown green white young black wood woods hill king cook day west north stone bell gray grey cross fish "
    "fox field price rice bishop carter baker mason park parks pope power powers savage sharp silver small "
    "snow strong summers waters webb wells winter wise gold hall long short lamb bush rivers banks graves "
    "wilson morton cooper best bright wall ball may march brook church temple walker miller"
)

KIN = (
    "mother|father|mom|mum|dad|wife|husband|son|daughter|brother|sister|partner|fiancee?|girlfriend|boyfriend|friend|cousin"
    "|uncle|aunt|niece|nephew|grandmother|grandfather|grandson|granddaughter|child|kid|baby|relative|patient"
)
_TITLED = re.compile(
    rf"(?<![{L}'’])(?P<title>Mrs?|Ms|Miss|Mx|Mister|Dr|Prof|Professor|Doctor|MRS?|DR|PROF|MISS|mrs?|ms|dr|prof)"
    rf"(?:\.|(?![{L}'’])){GAP}{{0,2}}(?=[{L}])"
)
_DETERMINED = re.compile(r"(?i:\b(?:the|my|an?|his|her|our|your|their|another|this|that|family|any|good))\s+\Z")
_INTRODUCED = re.compile(
    rf"(?<![{L}'’])(?i:(?:my|his|her|(?:{KIN})(?:['’]?s)?|full|first|last|real)\s?name"
    rf"(?:['’]?s(?![{L}])|{GAP}s(?![{L}]))?{GAP}*(?:(?:is|iz)(?![{L}])|[:=-])?|(?<![^\n.;,]){GAP}?name{GAP}*[:=]|call{GAP}me|myself)"
    rf"{GAP}{{0,3}}[:-]?{GAP}{{0,2}}{TITLE}"
)
_I_AM = re.compile(rf"(?<![{L}'’])(?i:i{GAP}am|i['’ ]?m|iam|this{GAP}is|here{GAP}is)\s{{1,3}}{TITLE}")
_NEXT = re.compile(
    rf"\s?(?:[,.(!\n\d\x00]|\Z)|{GAP}+(?i:from|and|here|age|aged|an?|i|im|my)(?![{L}])|{GAP}+in{GAP}+(?=[A-Z])"
)
_FULL = re.compile(
    rf"(?P<first>[A-Z][a-z]+)(?:{GAP}(?P<last>[A-Z][{L}'’-]+)(?=\s?(?:[,.!\n]|\Z))|(?={GAP}(?:from|in){GAP}+[A-Z]))"
)
_OF_KIN = re.compile(
    rf"(?<![{L}'’])(?i:(?:(?:my|our|his|her){GAP}(?:[\w-]{{1,10}}{GAP}){{0,3}})(?:{KIN})|patient),?{GAP}{{1,2}}(?=[A-Z])"
)


def read_name(text: str, at: int, sure: bool, titled: bool = False) -> int:
    """The end of the name that begins at a place, or that place where none does.

    Args:
        text, at: Where the first letter of the name stands.
        sure: The cue is certain: any word that is not ordinary English is a name. Otherwise a given name must lead.
        titled: A title or "my name is" stands before it: "Dr Brown" is a name though "brown" is a word.
    """
    end, here, leads, lower = at, at, True, text[at : at + 1].islower()
    for _ in range(2 if lower else 4):
        token = _TOKEN.match(text, here)
        if not token:
            break
        length = _length(token[0], sure or not leads, titled or not leads, lower, text[at : here - 1].isupper())
        if not length:
            if not leads and _INITIAL.match(text, here):
                end = here + 1  # "Betty B."
            break
        if leads and not titled and token[0].lower() in _WORDS_TOO and not _end_name(text, here + length):
            break  # "Hope this helps"
        end = here + length
        leads = leads and "." in token[0]
        if length < len(token[0]):
            break
        here = _SPACE.match(text, end).end()  # type: ignore[union-attr]
    return at if leads else end


def _end_name(text: str, at: int) -> bool:
    """Whether a sign or a surname follows a name that is a word too."""
    surname = _TOKEN.match(text, _SPACE.match(text, at).end())  # type: ignore[union-attr]
    return bool(_SIGN.match(text, at)) or (surname is not None and surname[0].istitle() and not is_ordinary(surname[0]))


def _length(token: str, sure: bool, titled: bool, lower: bool, shouted: bool) -> int:
    """How many of a token's characters belong to a name."""
    if "." in token:
        return len(token)
    word = token[:-2] if token.endswith(("'s", "’s")) else token
    glued = _GLUED.match(word)
    if glued and is_ordinary(glued[2]):
        word = glued[1]  # "my name is juliaI have"
    low = word.lower()
    known = low in read_given_names()
    if word.endswith(_VERBS) or (word[0].islower() and not lower) or (len(word) == 1 and not word.isupper()):
        return 0
    if is_ordinary(word) and not (titled and low in _SURNAMES and word[0].isupper()):
        return 0
    if word.isupper() and len(word) <= 5 and not (known or titled or shouted):
        return 0  # an acronym
    return len(word) if known or sure else 0


def find_given(text: str, at: int, end: int) -> bool:
    """Whether a name's first word is a known given name."""
    word = _WORD.match(text, at, end)
    return word is not None and word[0].lower() in read_given_names()


def find_introduced(text: str, low: str) -> Iterator[tuple[int, int]]:
    """ "My name is …", "Name: …", "call me …", "myself …"."""
    if not any(word in low for word in ("name", "call me", "myself")):
        return
    for cue in _INTRODUCED.finditer(text):
        sure = not cue[0].lower().startswith(("call", "myself")) or text[cue.end()].isupper()
        end = read_name(text, cue.end(), sure, bool(cue["title"]) or "name" in cue[0].lower())
        if end > cue.end():
            yield cue.end(), end


def find_said_to_be(text: str, low: str) -> Iterator[tuple[int, int]]:
    """ "I am Sarah", "this is Dr Patel": a given name, or any name after a title or before "from"."""
    for place in find_cues(low, ("i am", "i'm", "i’m", "i m", "im", "iam", "this is", "here is")):
        cue = _I_AM.match(text, place)
        if not cue:
            continue
        at = cue.end()
        end = read_name(text, at, bool(cue["title"]), bool(cue["title"]))
        if end > at and (cue["title"] or _NEXT.match(text, end)):
            yield at, end
        elif cue[0][0] in "Ii" and (whole := _read_full_name(text, at)):
            yield whole


def _read_full_name(text: str, at: int) -> tuple[int, int] | None:
    """ "Zuri Fanta.", "Zuri from Lagos": no given names that are known, but no English either."""
    found = _FULL.match(text, at)
    if not found or any(word and is_ordinary(word) for word in found.group("first", "last")):
        return None
    return found.span()


def find_of_kin(text: str, low: str) -> Iterator[tuple[int, int]]:
    """ "My wife Kavita", "our 5 year old son Jay": a given name."""
    for place in find_cues(low, ("my ", "our ", "his ", "her ", "patient ")):
        cue = _OF_KIN.match(text, place)
        end = read_name(text, cue.end(), False) if cue else 0
        if cue and end > cue.end():
            yield cue.end(), end


def find_titled(text: str, low: str) -> Iterator[tuple[int, int]]:
    """ "Mrs Smith", "Dr. A. K. Gupta" anywhere; "dr shanta" only where the word is a given name."""
    for place in find_cues(low, ("mr", "ms", "miss", "mx", "dr", "prof", "doctor", "mister")):
        cue = _TITLED.match(text, place)
        if not cue:
            continue
        at, title = cue.end(), cue["title"]
        upper = text[at].isupper()
        shouted = title in ("MR", "MS", "DR", "MRS", "PROF", "MISS") and text[at : at + 3].isupper()
        sentence = (
            cue[0].rstrip().endswith(".")
            and title.islower()
            and _DETERMINED.search(text, max(cue.start() - 12, 0), cue.start())
        )
        if title == "Doctor" and ("." in cue[0] or low.endswith("chat ", 0, place)):
            continue  # "Thanks for using Chat Doctor White spots are …"
        sure = upper and not shouted and not sentence
        end = read_name(text, at, sure, sure)
        if end > at and (sure or find_given(text, at, end) or "." in text[at : at + 2]):
            yield at, end
