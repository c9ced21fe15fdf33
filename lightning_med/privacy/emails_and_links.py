"""E-mail addresses and links, searched for around "@", "://", ".com" and their spellings."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOP_LEVEL = "com|org|net|edu|gov|mil|biz|int"  # not English words: after any label they end a domain
_COUNTRIES = "uk|in|au|nz|za|pk|lk|bd|sg|my|ng|ke|il|jp|br|ae"
_SECOND_LEVEL = rf"(?:co|com|org|net|ac|edu|gov|nic|nhs|res)\.(?:{_COUNTRIES})"
_DOUBTFUL = "info|app|health|link|tv|ca|de|fr|io|me|ai"  # after a word they begin a sentence: "thanks.info"
_PROVIDERS = (
    "gmail|yahoo|hotmail|outlook|aol|icloud|rediffmail|live|msn|ymail|protonmail|googlemail|rocketmail|gmx|comcast"
)

_FLAGS = re.IGNORECASE | re.ASCII  # without ASCII, [a-z] matches a dotless ı, which RE2 does not
_NAME_BEFORE = re.compile(r"(?<![\w.%+-])[\w.%+'-]{1,64}\s{0,2}\Z")
_DOMAIN = re.compile(
    rf"\s?(?:(?:[a-z0-9-]{{1,63}}\s?\.\s?){{1,4}}?(?:(?:{_SECOND_LEVEL})|(?:{_TOP_LEVEL}|{_DOUBTFUL}))(?![a-z0-9-])"
    rf"|(?:[a-z0-9-]{{1,63}}\.){{1,4}}(?-i:[a-z]{{2,24}}|[A-Z]{{2,24}})(?![A-Za-z0-9-])|(?:{_PROVIDERS})(?![\w-])(?:\s?\.[a-z]{{1,3}}(?![a-z]))?)",
    _FLAGS,
)
_GLUED = re.compile(r"\s?(?:[A-Za-z0-9-]{1,63}\.){1,3}(?:com|org|net|edu|in)(?=[A-Z][a-z])")
_SPELT_AT = re.compile(
    rf"(?:\s?[(\[{{]\s?at\s?[)\]}}]\s?|[ ]at[ ])(?:"
    rf"(?:[a-z0-9-]{{1,63}}(?:\s?[(\[{{]\s?dot\s?[)\]}}]\s?|[ ]dot[ ])){{1,3}}[a-z]{{2,6}}(?![a-z0-9])"
    rf"|(?:{_PROVIDERS})(?:\s?\.\s?[a-z]{{2,4}}(?:\.[a-z]{{2}})?)(?![a-z0-9]))",
    _FLAGS,
)
_SPELT_AT_DOTTED = re.compile(r"\s?[(\[{]\s?at\s?[)\]}]\s?(?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,24}(?![a-z])", _FLAGS)
_SPELT_SIGNS = (
    "at)", "at]", "at}", "at )", "at ]", "at }", " dot ", "dot)", "dot]", "mail.", "mail .", "yahoo", "outlook", "aol",
)  # fmt: skip
_SPELT_PROVIDERS = (" at live", " at msn", " at icloud", " at gmx", " at comcast")
_NAME_BEFORE_SPELT = re.compile(r"(?i:(?<![\w.+-])[\w+-]{1,40}(?:(?:\sdot\s|\.)[\w+-]{1,40}){0,3})\Z")

_WITH_SCHEME = re.compile(r"(?i:https?:\s?/{1,2}\s?|ftp://|(?<![\w@.-])www\d?\.)(?=[\w\[])[^\s\x00<>\"]+")
# A link with a blank: "http://www.name .com/page".
_CONTINUED = re.compile(rf"(?: Doctor)? ?\.(?:{_TOP_LEVEL}|{_SECOND_LEVEL})(?![\w])[^\s\x00]*")
_WITHOUT_SCHEME = re.compile(
    rf"\.(?:(?P<sure>{_SECOND_LEVEL}|{_TOP_LEVEL}|(?<=nhs.)uk|(?<=gov.)uk)(?![\w-])(?!\.[a-z])(?P<path>[/?#][^\s\x00<>\"]*)?"
    rf"|(?P<doubtful>{_DOUBTFUL})(?![\w-])(?!\.[a-z])(?:[/?#][^\s\x00<>\"]*)?"
    rf"|(?:co|in|us|uk|ly|gl|be|gd|to|it|is|at|ch|eu|nl)/[\w][^\s\x00<>\"]*)",
    _FLAGS,
)
_LABELS = re.compile(r"(?<![\w@.-])(?:[a-z0-9](?:[a-z0-9-]{0,62})\.){0,4}[a-z0-9][a-z0-9-]{0,62}\Z", _FLAGS)
_PUNCTUATION = ".,;:!?'\"”’*)]}>…-"

SUSPECT = (
    rf"@\s?(?:[A-Za-z0-9-]+\s?\.|(?i:{_PROVIDERS}))|(?i:[({{\[]\s?at\s?[)}}\]]|[ ]at[ ](?:{_PROVIDERS})"
    rf"|[ ]at[ ][a-z0-9-]+(?:[ ]dot[ ]|\s?[(\[{{]\s?dot)|https?:|ftp://|www\d?\.)"
    rf"|(?i:[a-z0-9]\.(?:{_SECOND_LEVEL}|{_TOP_LEVEL}|{_DOUBTFUL})(?:[^\w-]|$)|(?:nhs|gov)\.uk|[a-z0-9]\.(?:co|in|us|uk|ly|gl|be|gd|to|it|is|at|ch|eu|nl)/\w)"
)


def find_emails(text: str, low: str) -> Iterator[tuple[int, int]]:
    """Yields e-mail addresses: written with "@", with blanks around it, or spelt out ("name at gmail dot com").

    Args:
        text: Any text.
        low: The same by `lower_keeping_length`.
    """
    at = text.find("@")
    while at >= 0:
        name = _NAME_BEFORE.search(text, max(at - 70, 0), at)
        domain = _GLUED.match(text, at + 1) or _DOMAIN.match(text, at + 1)
        if name and domain and any(char.isalnum() for char in name[0]):
            yield name.start() + len(name[0]) - len(name[0].lstrip(".'-")), domain.end()
        at = text.find("@", at + 1)
    if any(sign in low for sign in _SPELT_SIGNS) or (" at " in low and any(sign in low for sign in _SPELT_PROVIDERS)):
        for pattern in (_SPELT_AT, _SPELT_AT_DOTTED):
            for spelt in pattern.finditer(text):
                name = _NAME_BEFORE_SPELT.search(text, max(spelt.start() - 130, 0), spelt.start())
                if name:
                    yield name.start(), spelt.end()


def find_urls(text: str, low: str, ordinary: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Yields links. A domain without "http" needs an ending that no glued sentence has ("pain.In the", "etc.in").

    Args:
        text: Any text.
        low: The same by `lower_keeping_length`.
        ordinary: Lower-case words; before a doubtful ending ("info") they end a sentence and are no domain.
    """
    opened = any(sign in low for sign in ("http", "www", "ftp:"))
    for link in _WITH_SCHEME.finditer(text) if opened else ():
        continued = _CONTINUED.match(text, link.end())
        yield link.start(), _trim_url(text, link.start(), continued.end() if continued else link.end())
    for link in _WITHOUT_SCHEME.finditer(text):
        labels = _LABELS.search(text, max(link.start() - 320, 0), link.start())
        if labels and _is_domain(labels[0], link, ordinary):
            yield labels.start(), _trim_url(text, labels.start(), link.end())


def _is_domain(labels: str, link: re.Match[str], ordinary: frozenset[str]) -> bool:
    written = link["sure"] or link["doubtful"] or ""
    ending = written.lower()
    if written != ending and not (written + labels).isupper():
        return False  # "pain.Net" begins a sentence
    if not written:
        return labels.lower() not in ordinary or labels in ("goo", "bit", "t")
    if link["doubtful"] or ending in ("net", "int"):
        return labels.rpartition(".")[2].lower() not in ordinary and not labels.isdigit()
    return any(char.isalpha() for char in labels)


def _trim_url(text: str, start: int, end: int) -> int:
    """The end without the sentence's punctuation; a closing bracket stays if the link contains the opening one."""
    while end > start and text[end - 1] in _PUNCTUATION:
        if text[end - 1] == ")" and text.count("(", start, end) >= text.count(")", start, end):
            break
        end -= 1
    return end
