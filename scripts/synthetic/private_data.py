"""Plants private data: invented, but in the right format and with valid check digits."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from random import Random

import phonenumbers
from stdnum import luhn, verhoeff
from stdnum.gb import nhs
from stdnum.us import ssn as us_ssn

from synthetic.language import Language, read_lists
from synthetic.marks import mark

_NAMES = read_lists("names.yaml", ",")
_WORD = re.compile(r"\w{2,}")
_PLACEHOLDER = re.compile(r"@(it|first|last|full)\b")
_DOMAINS = ("example.com", "example.org", "example.net", "mail.example.com", "post.example.org", "example.co.uk")
_US_AREAS = (205, 212, 213, 303, 305, 312, 404, 415, 503, 512, 602, 617, 646, 702, 713, 718, 808, 904, 916, 972)
# Prefixes reserved for fiction, where a country has any; # is any digit.
_PHONES = {
    "US": tuple(f"{area}555####" for area in _US_AREAS),
    "GB": ("2079460###", "1174960###", "1214960###", "1314960###", "1414960###", "1614960###", "79111#####"),
    "IN": ("98########", "99########", "70########", "88########", "63########"),
    "AU": ("491570###", "255501###", "355501###", "755501###", "855501###"),
}
_CARDS = ("4111", "4242", "4000", "5555", "5105", "2223", "6011", "3782", "3714")


def fill_digits(pattern: str, random: Random) -> str:
    """Replaces each # of a pattern with a random digit."""
    return "".join(str(int(random.random() * 10)) if char == "#" else char for char in pattern)


def make_phone(random: Random) -> str:
    """Makes a valid phone number in a national or international format."""
    region = random.choice(tuple(_PHONES))
    while True:
        number = phonenumbers.parse(fill_digits(random.choice(_PHONES[region]), random), region)
        if phonenumbers.is_valid_number(number):
            break
    formats = phonenumbers.PhoneNumberFormat
    national = phonenumbers.format_number(number, formats.NATIONAL)
    world = phonenumbers.format_number(number, formats.INTERNATIONAL)
    bare = re.sub(r"\D", "", national)
    shapes = [national, world, world.replace(" ", "-"), world.replace(" ", ""), f"00{world[1:]}", bare]
    if region == "US":
        a, b, c = bare[:3], bare[3:6], bare[6:]
        shapes += [
            f"+1 ({a}) {b}-{c}",
            f"{a}.{b}.{c}",
            f"{a}-{b}-{c}",
            f"1-{a}-{b}-{c}",
            f"({a}){b}-{c}",
            f"{a} {b} {c}",
        ]
    elif region == "GB":
        shapes.append(world.replace("+44 ", "+44 (0)"))
    elif region == "IN":
        shapes += [f"+91-{bare[-10:]}", f"0{bare[-10:]}", bare[-10:], f"91{bare[-10:]}"]
    return random.choice(shapes)


def make_card(random: Random) -> str:
    """Makes a card number with a test prefix and a valid Luhn check digit."""
    prefix = random.choice(_CARDS)
    body = fill_digits(prefix + "#" * (10 if prefix[0] == "3" else 11), random)
    number = body + luhn.calc_check_digit(body)
    cuts = (0, 4, 10, 15) if len(number) == 15 else (0, 4, 8, 12, 16)
    return group_digits(number, cuts, random.choice((" ", "-", "")))


def group_digits(number: str, cuts: tuple[int, ...], separator: str) -> str:
    """Splits a number into groups at the given positions."""
    return separator.join(number[a:b] for a, b in pairwise(cuts))


def make_ssn(random: Random) -> str:
    """Makes a valid US social security number."""
    while not us_ssn.is_valid(number := fill_digits("#########", random)):
        pass
    return group_digits(number, (0, 3, 5, 9), random.choice(("-", "-", "-", " ", "")))


def make_nhs_number(random: Random) -> str:
    """Makes an NHS number of the range reserved for tests."""
    while not nhs.is_valid(number := fill_digits("999#######", random)):
        pass
    return group_digits(number, (0, 3, 6, 10), random.choice((" ", " ", "-", "")))


def make_nino(random: Random) -> str:
    """Makes a British national insurance number."""
    prefix = random.choice("ABCEGHJLMPRSTWXY") + random.choice("ABCEGHJKLMPRSTWXYZ")
    if prefix in ("GB", "BG", "TN", "ZZ", "NK", "KN", "NT"):
        prefix = "AB"
    number = fill_digits(f"{prefix}######{random.choice('ABCD')}", random)
    return group_digits(number, (0, 2, 4, 6, 8, 9), random.choice((" ", "")))


def make_aadhaar(random: Random) -> str:
    """Makes an Indian identity number with a valid Verhoeff check digit; palindromes are not valid."""
    body = fill_digits(f"{random.randrange(2, 10)}##########", random)
    number = body + verhoeff.calc_check_digit(body)
    return (
        make_aadhaar(random)
        if number == number[::-1]
        else group_digits(number, (0, 4, 8, 12), random.choice((" ", " ", "-", "")))
    )


def make_name(form: str, random: Random) -> str:
    """Makes a `first` name, a `last` name or the `full` name."""
    parts = {"first": random.choice(_NAMES["first"]), "last": random.choice(_NAMES["last"])}
    return f"{parts['first']} {parts['last']}" if form == "full" else parts[form]


def make_email(random: Random) -> str:
    """Makes an e-mail address with a domain reserved for examples."""
    first, last = (re.sub(r"\W", "", make_name(form, random)).lower() for form in ("first", "last"))
    year, number = random.randint(1950, 2005), random.randint(1, 99)
    local = random.choice((f"{first}.{last}", f"{first}{year}", f"{first[0]}{last}{number}", f"{last}_{first}", first))
    return f"{local}@{random.choice(_DOMAINS)}"


def make_url(random: Random) -> str:
    """Makes a URL with a domain reserved for examples."""
    host = random.choice(("www.example.com", "example.org", "scans.example.net", "www.example-clinic.com"))
    start = random.choice(("http://", "https://", "https://", "" if host.startswith("www") else "http://"))
    page, number = random.choice(("reports", "photo", "forum/thread", "p", "health/articles")), random.randint(1, 99999)
    return start + host + random.choice(("", f"/{page}/{number}", f"/{page}?id={number}", f"/{page}/{number}.html"))


def make_address(random: Random) -> str:
    """Makes a postal address in the format of one of four countries."""
    street, house, flat = random.choice(_NAMES["street"]), random.randint(1, 999), random.randint(1, 60)
    way = random.choice(("Street", "Avenue", "Road", "Lane", "Drive", "St", "Ave", "Rd"))
    country = random.choice(("us", "uk", "in", "au"))
    place = random.choice(_NAMES[f"{country}_place"])
    if country == "in":
        return f"Flat {flat}, {random.choice(_NAMES['building'])} Apartments, {street} Road, {place}"
    home = random.choice((f"{house} {street} {way}", f"{house} {street} {way}", f"Flat {flat}, {house} {street} {way}"))
    return f"{home}, {place}"


_MAKERS: dict[str, Callable[[Random], str]] = {
    "email": make_email,
    "phone": make_phone,
    "card": make_card,
    "url": make_url,
    "ssn": make_ssn,
    "nhs": make_nhs_number,
    "nino": make_nino,
    "aadhaar": make_aadhaar,
    "address": make_address,
}
KINDS = (*_MAKERS, "name_greeting", "name_signature", "name_intro")


class Planter:
    """Plants private data in the sentences of a cell."""

    def __init__(self, language: Language) -> None:
        self._language = language
        carriers = read_lists("private_data.yaml", "\n")
        self._carriers = {key: [language.compile(text) for text in texts] for key, texts in carriers.items()}

    def plant(self, kind: str, column: str, sentences: list[str], random: Random) -> list[str]:
        """Adds a sentence with a marked item of private data; a greeting or signature replaces the first or last one.

        Args:
            kind: One of `KINDS`.
            column: `input` for a question, `output` for an answer.
            sentences: Sentences of the cell.
            random: Source of random numbers.
        """
        carrier = self._language.draw(random.choice(self._carriers[f"{kind}_{column}"]), random)
        taken = set(_WORD.findall(" ".join([*sentences, carrier]).lower()))
        sentence = _PLACEHOLDER.sub(lambda match: mark(kind, self._make_item(kind, match[1], taken, random)), carrier)
        if kind == "name_greeting":
            return [sentence, *sentences[1:]]
        if kind == "name_signature":
            return [*sentences[:-1], sentence]
        place = 1 if kind == "name_intro" else random.randint(1, len(sentences) - 1)
        return [*sentences[:place], sentence, *sentences[place:]]

    def _make_item(self, kind: str, form: str, taken: set[str], random: Random) -> str:
        """Makes the item; no word of a name occurs elsewhere in the cell, so that a name that is left can be found."""
        if kind in _MAKERS:
            return _MAKERS[kind](random)
        name = make_name(form, random)
        while taken.intersection(_WORD.findall(name.lower())):
            name = make_name(form, random)
        return name
