"""E-mail addresses and links: found at a sign few sentences hold ("@", "://", ".com"), then read to both sides."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOP = "com|org|net|edu|gov|mil|biz|int"  # no English words: trusted after any label
_COUNTRY = "uk|in|au|nz|za|pk|lk|bd|sg|my|ng|ke|il|jp|br|ae"
_SECOND = rf"(?:co|com|org|net|ac|edu|gov|nic|nhs|res)\.(?:{_COUNTRY})"
_LATER = "info|app|health|link|tv|ca|de|fr|io|me|ai"  # "thanks.info" is a glued sentence: the label must be no word
_PROVIDER = (
    "gmail|yahoo|hotmail|outlook|aol|icloud|rediffmail|live|msn|ymail|protonmail|googlemail|rocketmail|gmx|comcast"
)

_FLAGS = re.IGNORECASE | re.ASCII  # else [a-z] would hold a dotless ı, as it does not in RE2
_BEFORE_AT = re.compile(r"(?<![\w.%+-])[\w.%+'-]{1,64}\s{0,2}\Z")
_DOMAIN = re.compile(
    rf"\s?(?:(?:[a-z0-9-]{{1,63}}\s?\.\s?){{1,4}}?(?:(?:{_SECOND})|(?:{_TOP}|{_LATER}))(?![a-z0-9-])"
    rf"|(?:[a-z0-9-]{{1,63}}\.){{1,4}}(?-i:[a-z]{{2,24}}|[A-Z]{{2,24}})(?![A-Za-z0-9-])|(?:{_PROVIDER})(?![\w-])(?:\s?\.[a-z]{{1,3}}(?![a-z]))?)",
    _FLAGS,
)
_GLUED = re.compile(r"\s?(?:[A-Za-z0-9-]{1,63}\.){1,3}(?:com|org|net|edu|in)(?=[A-Z][a-z])")
_SPELT_AT = re.compile(
    rf"(?:\s?[(\[{{]\s?at\s?[)\]}}]\s?|[ ]at[ ])(?:"
    rf"(?:[a-z0-9-]{{1,63}}(?:\s?[(\[{{]\s?dot\s?[)\]}}]\s?|[ ]dot[ ])){{1,3}}[a-z]{{2,6}}(?![a-z0-9])"
    rf"|(?:{_PROVIDER})(?:\s?\.\s?[a-z]{{2,4}}(?:\.[a-z]{{2}})?)(?![a-z0-9]))",
    _FLAGS,
)
_SPELT_AT_DOTTED = re.compile(r"\s?[(\[{]\s?at\s?[)\]}]\s?(?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,24}(?![a-z])", _FLAGS)
_SPELT_SIGNS = (
    "at)",
    "at]",
    "at}",
    "at )",
    "at ]",
    "at }",
    " dot ",
    "dot)",
    "dot]",
    "mail.",
    "mail .",
    "yahoo",
    "outlook",
    "aol",
)
_SPELT_LIVE = (" at live", " at msn", " at icloud", " at gmx", " at comcast")
_BEFORE_SPELT = re.compile(r"(?i:(?<![\w.+-])[\w+-]{1,40}(?:(?:\sdot\s|\.)[\w+-]{1,40}){0,3})\Z")

_OPEN = re.compile(r"(?i:https?:\s?/{1,2}\s?|ftp://|(?<![\w@.-])www\d?\.)(?=[\w\[])[^\s\x00<>\"]+")
_BROKEN = re.compile(
    rf"(?: Doctor)? ?\.(?:{_TOP}|{_SECOND})(?![\w])[^\s\x00]*"
)  # "http://www.name .com/page": a scrubber's space
_BARE = re.compile(
    rf"\.(?:(?P<sure>{_SECOND}|{_TOP}|(?<=nhs.)uk|(?<=gov.)uk)(?![\w-])(?!\.[a-z])(?P<path>[/?#][^\s\x00<>\"]*)?"
    rf"|(?P<later>{_LATER})(?![\w-])(?!\.[a-z])(?:[/?#][^\s\x00<>\"]*)?"
    rf"|(?:co|in|us|uk|ly|gl|be|gd|to|it|is|at|ch|eu|nl)/[\w][^\s\x00<>\"]*)",
    _FLAGS,
)
_LABELS = re.compile(r"(?<![\w@.-])(?:[a-z0-9](?:[a-z0-9-]{0,62})\.){0,4}[a-z0-9][a-z0-9-]{0,62}\Z", _FLAGS)
_TRAILING = ".,;:!?'\"”’*)]}>…-"

SUSPECT = (
    rf"@\s?(?:[A-Za-z0-9-]+\s?\.|(?i:{_PROVIDER}))|(?i:[({{\[]\s?at\s?[)}}\]]|[ ]at[ ](?:{_PROVIDER})"
    rf"|[ ]at[ ][a-z0-9-]+(?:[ ]dot[ ]|\s?[(\[{{]\s?dot)|https?:|ftp://|www\d?\.)"
    rf"|(?i:[a-z0-9]\.(?:{_SECOND}|{_TOP}|{_LATER})(?:[^\w-]|$)|(?:nhs|gov)\.uk|[a-z0-9]\.(?:co|in|us|uk|ly|gl|be|gd|to|it|is|at|ch|eu|nl)/\w)"
)


def find_emails(text: str, low: str) -> Iterator[tuple[int, int]]:
    """Addresses: written with "@", with spaces around it, or spelt out ("name at gmail dot com")."""
    at = text.find("@")
    while at >= 0:
        left = _BEFORE_AT.search(text, max(at - 70, 0), at)
        right = _GLUED.match(text, at + 1) or _DOMAIN.match(text, at + 1)
        if left and right and any(sign.isalnum() for sign in left[0]):
            yield left.start() + len(left[0]) - len(left[0].lstrip(".'-")), right.end()
        at = text.find("@", at + 1)
    if any(sign in low for sign in _SPELT_SIGNS) or (" at " in low and any(sign in low for sign in _SPELT_LIVE)):
        for pattern in (_SPELT_AT, _SPELT_AT_DOTTED):
            for spelt in pattern.finditer(text):
                left = _BEFORE_SPELT.search(text, max(spelt.start() - 130, 0), spelt.start())
                if left:
                    yield left.start(), spelt.end()


def find_urls(text: str, low: str, ordinary: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Links. A bare domain needs an ending that no glued sentence ("pain.In the", "etc.in") has.

    Args:
        text: Any text.
        ordinary: Lower-case words: before a doubtful ending ("info") they are a sentence's last word, not a site.
    """
    opened = any(sign in low for sign in ("http", "www", "ftp:"))
    for link in _OPEN.finditer(text) if opened else ():
        end = _trim_url(text, link.start(), link.end())
        broken = _BROKEN.match(text, link.end())
        yield link.start(), _trim_url(text, link.start(), broken.end()) if broken else end
    for link in _BARE.finditer(text):
        labels = _LABELS.search(text, max(link.start() - 320, 0), link.start())
        if labels and _is_site(labels[0], link, ordinary):
            yield labels.start(), _trim_url(text, labels.start(), link.end())


def _is_site(labels: str, link: re.Match[str], ordinary: frozenset[str]) -> bool:
    ending = (link["sure"] or link["later"] or "").lower()
    written = link["sure"] or link["later"] or ""
    if written != ending and not (written + labels).isupper():
        return False  # "pain.Net" begins a sentence
    if not link["sure"] and not link["later"]:
        return labels.lower() not in ordinary or labels in ("goo", "bit", "t")
    if link["later"] or ending in ("net", "int"):
        return labels.rpartition(".")[2].lower() not in ordinary and not labels.isdigit()
    return any(sign.isalpha() for sign in labels)


def _trim_url(text: str, start: int, end: int) -> int:
    """Without the sentence's own punctuation; a bracket stays where the link itself opened it."""
    while end > start and text[end - 1] in _TRAILING:
        if text[end - 1] == ")" and text.count("(", start, end) >= text.count(")", start, end):
            break
        end -= 1
    return end
