"""The placeholder "Chat Doctor" in copies of HealthCareMagic: it replaced "Dr" or a name, and words after it.

In a greeting, an introduction or a signature only a name is lost, and the phrase is repaired. In mid-sentence
("anti-inflammatory Chat Doctor. ") the lost words cannot be known, and the text stays as it is.
"""

from __future__ import annotations

import re

CHAT_DOCTOR = "Chat ?Doctor"  # a pattern: where it replaced a full stop too, it has no spaces
_PLACEHOLDER = re.compile(CHAT_DOCTOR)
_MAX_PHRASE = 110  # characters of a phrase before the placeholder
_TOWARDS = (
    r"(?:to|on|in|at|from|with|by|through|using|calling|contacting"
    r"|for (?:using|calling|choosing|contacting|consulting))"
)
_WELCOME = re.compile(
    r"(?:welcome|\bthank(?:s| ?you)\b[^.!?\n]{0,80}?|\bgreetings?)"
    rf"(?P<cut>\s*\b{_TOWARDS}\s+(?:the\s+|our\s+)?|(?<=for asking)\s+)$",
    re.I,
)
_SITE = re.compile(r"\s?\.?\s?com\b|\s+(?:forum|virtual clinic|website|site|team|family|platform|services?)\b", re.I)
_SELF = re.compile(r"\b(?:(?P<i>I(?:'m| am) )|[Tt]his is |[Mm]yself )$")
_SELF_AND = re.compile(
    r"\s*,?\s*and\s+(?:I\s+|(?!(?:you|he|she|it|we|they|there|this|that|these|those|the|an?|my|our|your|his|her|its)\b))"
    r"(?=[a-z])"
)
_SELF_DOING = re.compile(r"\s+(?=[a-z]+ing\b)")
_SELF_ENDS = re.compile(
    r"\s*[.,!]\s*(?=(?:I|Thanks?|Your?|Let|As|After|First|In|The|Understand|Welcome|Regarding|It|Read|Well|Here|Hope)\b|$)"
)
_SIGNING = re.compile(
    r"\b(?:regards|thanks(?: a lot)?|thank you|sincerely|take care|best wishes|wishes|(?:good|best of) luck|good day"
    r"|health|bless you)(?P<cut>[\s,.:!-]*)$",
    re.I,
)
_SENTENCE_ENDS = re.compile(r"[.!?…](?P<cut>[\s.,!-]*)$")
_NOTHING_FOLLOWS = re.compile(r"\s*[.,!]*\s*$")


def repair_chat_doctor(text: str) -> str:
    """Removes the placeholder where only a name was lost."""
    repaired, rest = "", text
    while found := _PLACEHOLDER.search(rest):
        before, after = repaired + rest[: found.start()], rest[found.end() :]
        repaired, rest = _repair(before, after) or (before + found.group(), after)
    return repaired + rest


def _repair(before: str, after: str) -> tuple[str, str] | None:
    """Returns the repaired text before and after a placeholder; `None` where it has to stay."""
    near = before[-_MAX_PHRASE:]
    if _NOTHING_FOLLOWS.match(after):
        if match := _SIGNING.search(near):
            return _cut(before, near, match) + ".", ""
        if match := _SENTENCE_ENDS.search(near):
            return _cut(before, near, match), ""
    if match := _WELCOME.search(near):
        return _cut(before, near, match), _continue_sentence(after[len(_match_start(_SITE, after)) :])
    if match := _SELF.search(near):
        head = before[: len(before) - len(near) + match.start()]
        if match["i"] and (link := _match_start(_SELF_AND, after)):
            return f"{head}I ", after[len(link) :]
        if match["i"] and (link := _match_start(_SELF_DOING, after)):
            return f"{head}I am ", after[len(link) :]
        if end := _match_start(_SELF_ENDS, after):
            return head, after[len(end) :]
    return None


def _match_start(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.match(text)
    return match.group() if match else ""


def _cut(before: str, near: str, match: re.Match[str]) -> str:
    """Removes the group `cut` of a match at the end of `near`, the last characters of `before`."""
    return before[: len(before) - len(near) + match.start("cut")]


def _continue_sentence(after: str) -> str:
    """Returns the text after a greeting, with the full stop that the placeholder replaced."""
    bare = after.lstrip()
    if not bare:
        return "."
    return f". {bare}" if bare[0].isupper() else bare if bare[0] in ".,!?;:" else f" {bare}"
