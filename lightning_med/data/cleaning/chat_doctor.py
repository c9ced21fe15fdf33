"""The placeholder "Chat Doctor" of HealthCareMagic's copies: it stands where "Dr" or a name stood, and ate words.

Where it stands in a greeting, an introduction or a signature nothing is lost but a name, and the phrase is mended. In
mid-sentence ("anti-inflammatory Chat Doctor. ") words are gone that nobody can know; such a text stays as it is.
"""

from __future__ import annotations

import re

CHAT_DOCTOR = "Chat Doctor"
_LOOK = 110  # characters before it that can belong to the same phrase
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
_SELF_GOES_ON = re.compile(
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
    """The text without the placeholder where that loses nothing."""
    done, rest = "", text
    while (at := rest.find(CHAT_DOCTOR)) >= 0:
        before, after = done + rest[:at], rest[at + len(CHAT_DOCTOR) :]
        done, rest = _repair(before, after) or (before + CHAT_DOCTOR, after)
    return done + rest


def _repair(before: str, after: str) -> tuple[str, str] | None:
    """What stands before and after a placeholder once it is gone, or `None` where it has to stay."""
    near = before[-_LOOK:]
    if _NOTHING_FOLLOWS.match(after):
        if found := _SIGNING.search(near):
            return _cut(before, near, found) + ".", ""
        if found := _SENTENCE_ENDS.search(near):
            return _cut(before, near, found), ""
    if found := _WELCOME.search(near):
        return _cut(before, near, found), _sentence(after[len(_locate(_SITE, after)) :])
    if found := _SELF.search(near):
        head = before[: len(before) - len(near) + found.start()]
        if found["i"] and (goes_on := _locate(_SELF_GOES_ON, after)):
            return f"{head}I ", after[len(goes_on) :]
        if found["i"] and (doing := _locate(_SELF_DOING, after)):
            return f"{head}I am ", after[len(doing) :]
        if ends := _locate(_SELF_ENDS, after):
            return head, after[len(ends) :]
    return None


def _locate(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.match(text)
    return match.group() if match else ""


def _cut(before: str, near: str, found: re.Match[str]) -> str:
    return before[: len(before) - len(near) + found.start("cut")]


def _sentence(after: str) -> str:
    """What follows a greeting, with the mark that the placeholder ate where a sentence begins without one."""
    bare = after.lstrip()
    if not bare:
        return "."
    return f". {bare}" if bare[0].isupper() else bare if bare[0] in ".,!?;:" else f" {bare}"
