"""Names of people in signatures: "Regards, Dr John Smith", "Thanks, Sarah", or a name alone at the end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lightning_med.privacy.cue_search import LETTERS, find_cues
from lightning_med.privacy.name_parser import GAP, TITLE, NameSpan, begins_with_given_name, find_name_end

STRONG = (
    rf"regards|regds|rgds|sincerely|faithfully|yours{GAP}+truly|best{GAP}+wishes|warm{GAP}+wishes"
    "|respectfully|cordially"
)
WEAK = rf"thanks|thank{GAP}+(?:you|u)|thanku|thanx|thnx|thanking{GAP}+you|thx|cheers|take{GAP}+care|love|signed"
_SIGNED_WORDS = (
    "regards", "regds", "rgds", "sincerely", "faithfully", "yours", "respectfully", "cordially", "best wishes",
    "warm wishes", "thanks", "thanku", "thanx", "thnx", "thank you", "thank u", "thanking", "thx", "cheers",
    "take care", "love", "signed", "best,",
)  # fmt: skip
_BEST = r"(?:(?<=[.!?]\s)|(?<=\n))[Bb]est(?=,)"  # at the start of a sentence
_SIGNED = re.compile(
    rf"(?<![{LETTERS}'’])(?:(?P<strong>(?i:{STRONG}))|(?i:{WEAK})|{_BEST})(?:(?![{LETTERS}'’])|(?=[A-Z]))(?P<apart>[\s,.:;!&~*–—-]{{0,8}}){TITLE}"
)
_TAIL = re.compile(rf"(?P<apart>[.!?,;\n–—-])\s{{0,3}}{TITLE}(?=[^\n]{{1,50}}\Z)")
_THANKS = re.compile(r"(?i:thank|thx)[^.!?,;\n–—-]*[.!?,;\n–—-][\s.!?,;–—-]*\Z")
_FRONT = re.compile(
    rf"(?i:(?<![{LETTERS}])(?:(?:thanks|thank\syou|thanking\syou)\s?(?:and|&|,|with)?\s?)?"
    rf"(?:(?:with|and|&|my|many|very|kind(?:est)?|kindly|warm(?:est)?|best|yours|most)\s){{0,3}}|[–—-]\s?)\Z"
)
_CREDENTIALS = re.compile(
    r"(?:[\s,.;:()&/–—-]{1,4}(?:(?:[A-Z]\.){1,4}[A-Z]?|[A-Z][A-Za-z]?\.?[A-Z]{1,5}[a-z]?|(?i:md|mbbs|ms|dnb|dm|phd)|[A-Za-z]{2,}(?:ologist|iatrist|ology|"
    r"iatrician|iatrics|iatry|opath|opathy|opedics)|(?i:consultant|senior|general|physician|surgeons?|surgery|specialist|medicine|"
    r"practitioner|dept|department|hospital|clinic|dentist|resident|professor|assistant|associate|internal|family))(?![\w]))"
    r"{0,12}(?:[\s,);:!–—-]|\.(?!\w)){0,8}"
)
_END = re.compile(r"\s{0,3}(?:[,.;:!?()&/\n\x00–—-]|\Z)")
_TEXT_END = re.compile(r"[\s.!,)~*;:–—-]{0,6}\Z")
_INITIALS = re.compile(r"(?![AIU]\W*\Z)(?:[A-Z]\.?){1,4}\W{0,4}\Z")  # "Regards, SK"


def find_signed(text: str, low: str) -> Iterator[NameSpan]:
    """Yields the names in signatures; an answer loses the whole signature.

    Args:
        text: Any text.
        low: The same by `lower_keeping_length`.
    """
    for place in find_cues(low, _SIGNED_WORDS):
        cue = _SIGNED.match(text, place)
        if cue and (end := _find_end(text, cue)) > cue.end():
            yield NameSpan(cue.end(), end, _find_removed(text, cue.start(), end))
    bottom = len(text.rstrip(" \t\n\r.!*~\xa0"))
    for cue in _TAIL.finditer(text, max(bottom - 60, 0), bottom):
        end = _find_last_end(text, cue)
        if end > cue.end():
            yield NameSpan(cue.end(), end, _find_removed(text, cue.end("apart"), end))
            break


def _find_end(text: str, cue: re.Match[str]) -> int:
    """The end of the name after "Regards" or "Thanks"; the end of the cue if no name follows."""
    start, titled = cue.end(), bool(cue["title"])
    end = find_name_end(text, start, True, titled)
    if end == start and cue["strong"] and _INITIALS.match(text[start : start + 12]):
        end = start + len(text[start:].rstrip(" .!\n"))
    if end == start or titled:
        return end
    last, known = bool(_TEXT_END.match(text, end)), begins_with_given_name(text, start, end)
    upper = text[start].isupper()
    if cue["strong"]:
        fits = last or known or (bool(_END.match(text, end)) and not re.search(r"[.!?]", cue["apart"]))
    else:
        fits = (known and upper) or (last and (upper or end - start > 2))
    return end if fits or (upper and _is_degree_next(text, end)) else start


def _is_degree_next(text: str, end: int) -> bool:
    """Whether a degree such as "MD" follows a name."""
    match = _CREDENTIALS.match(text, end)
    return match is not None and len(match[0]) > 2 and any(char.isalpha() for char in match[0])


def _find_last_end(text: str, cue: re.Match[str]) -> int:
    """The end of a name that ends the text; the end of the cue if there is none."""
    start = cue.end()
    end = find_name_end(text, start, True, bool(cue["title"]))
    degrees = _CREDENTIALS.match(text, end).end() if cue["title"] else end  # type: ignore[union-attr]
    if end == start or not _TEXT_END.match(text, degrees):
        return start
    upper = text[start].isupper()
    if cue["title"] and upper:
        return end
    thanked = bool(_THANKS.search(text, max(cue.start() - 150, 0), cue.end("apart")))
    alone = cue["apart"] == "\n" or (
        cue["apart"] in "–—-" and not text[max(cue.start() - 1, 0) : cue.start()].isalnum()
    )
    known = begins_with_given_name(text, start, end)
    return end if (known and (alone or thanked) and (upper or thanked)) or (thanked and upper) else start


def _find_removed(text: str, start: int, end: int) -> tuple[int, int]:
    """From "Thanks and kind" before the cue to the last degree after the name."""
    front = _FRONT.search(text, max(start - 60, 0), start)
    start = front.start() if front else start
    return start, _CREDENTIALS.match(text, end).end()  # type: ignore[union-attr]
