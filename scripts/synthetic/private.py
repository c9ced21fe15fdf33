"""What people give away about themselves: invented, but of the right form, with valid check digits."""

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
_HOLDER = re.compile(r"@(it|first|last|full)\b")
_DOMAINS = ("example.com", "example.org", "example.net", "mail.example.com", "post.example.org", "example.co.uk")
_US_AREAS = (205, 212, 213, 303, 305, 312, 404, 415, 503, 512, 602, 617, 646, 702, 713, 718, 808, 904, 916, 972)
# Exchanges kept for fiction, where a country has them: # is any digit.
_PHONES = {
    "US": tuple(f"{area}555####" for area in _US_AREAS),
    "GB": ("2079460###", "1174960###", "1214960###", "1314960###", "1414960###", "1614960###", "79111#####"),
    "IN": ("98########", "99########", "70########", "88########", "63########"),
    "AU": ("491570###", "255501###", "355501###", "755501###", "855501###"),
}
_CARDS = ("4111", "4242", "4000", "5555", "5105", "2223", "6011", "3782", "3714")


def digits(pattern: str, random: Random) -> str:
    """The pattern with a digit for each #."""
    return "".join(str(int(random.random() * 10)) if sign == "#" else sign for sign in pattern)


def phone(random: Random) -> str:
    """A valid number as people of its country write it, or an international form."""
    region = random.choice(tuple(_PHONES))
    while True:
        number = phonenumbers.parse(digits(random.choice(_PHONES[region]), random), region)
        if phonenumbers.is_valid_number(number):
            break
    forms = phonenumbers.PhoneNumberFormat
    national = phonenumbers.format_number(number, forms.NATIONAL)
    world = phonenumbers.format_number(number, forms.INTERNATIONAL)
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


def card(random: Random) -> str:
    """A card number under a test prefix that passes Luhn's check."""
    prefix = random.choice(_CARDS)
    body = digits(prefix + "#" * (10 if prefix[0] == "3" else 11), random)
    number = body + luhn.calc_check_digit(body)
    cuts = (0, 4, 10, 15) if len(number) == 15 else (0, 4, 8, 12, 16)
    return parted(number, cuts, random.choice((" ", "-", "")))


def parted(number: str, cuts: tuple[int, ...], between: str) -> str:
    """The number in groups."""
    return between.join(number[a:b] for a, b in pairwise(cuts))


def ssn(random: Random) -> str:
    """A social security number that could be given out."""
    while not us_ssn.is_valid(number := digits("#########", random)):
        pass
    return parted(number, (0, 3, 5, 9), random.choice(("-", "-", "-", " ", "")))


def nhs_number(random: Random) -> str:
    """An NHS number of the range kept for tests."""
    while not nhs.is_valid(number := digits("999#######", random)):
        pass
    return parted(number, (0, 3, 6, 10), random.choice((" ", " ", "-", "")))


def nino(random: Random) -> str:
    """A British national insurance number."""
    prefix = random.choice("ABCEGHJLMPRSTWXY") + random.choice("ABCEGHJKLMPRSTWXYZ")
    if prefix in ("GB", "BG", "TN", "ZZ", "NK", "KN", "NT"):
        prefix = "AB"
    number = digits(f"{prefix}######{random.choice('ABCD')}", random)
    return parted(number, (0, 2, 4, 6, 8, 9), random.choice((" ", "")))


def aadhaar(random: Random) -> str:
    """An Indian identity number with its check digit; one that reads the same backwards is none."""
    body = digits(f"{random.randrange(2, 10)}##########", random)
    number = body + verhoeff.calc_check_digit(body)
    return (
        aadhaar(random) if number == number[::-1] else parted(number, (0, 4, 8, 12), random.choice((" ", " ", "-", "")))
    )


def name(form: str, random: Random) -> str:
    """A first name, a last name or both."""
    parts = {"first": random.choice(_NAMES["first"]), "last": random.choice(_NAMES["last"])}
    return f"{parts['first']} {parts['last']}" if form == "full" else parts[form]


def email(random: Random) -> str:
    """An address under a domain kept for examples."""
    first, last = (re.sub(r"\W", "", name(form, random)).lower() for form in ("first", "last"))
    year, number = random.randint(1950, 2005), random.randint(1, 99)
    local = random.choice((f"{first}.{last}", f"{first}{year}", f"{first[0]}{last}{number}", f"{last}_{first}", first))
    return f"{local}@{random.choice(_DOMAINS)}"


def url(random: Random) -> str:
    """A page under a domain kept for examples."""
    host = random.choice(("www.example.com", "example.org", "scans.example.net", "www.example-clinic.com"))
    start = random.choice(("http://", "https://", "https://", "" if host.startswith("www") else "http://"))
    page, number = random.choice(("reports", "photo", "forum/thread", "p", "health/articles")), random.randint(1, 99999)
    return start + host + random.choice(("", f"/{page}/{number}", f"/{page}?id={number}", f"/{page}/{number}.html"))


def address(random: Random) -> str:
    """Street and town as written in one of four countries."""
    street, house, flat = random.choice(_NAMES["street"]), random.randint(1, 999), random.randint(1, 60)
    way = random.choice(("Street", "Avenue", "Road", "Lane", "Drive", "St", "Ave", "Rd"))
    country = random.choice(("us", "uk", "in", "au"))
    place = random.choice(_NAMES[f"{country}_place"])
    if country == "in":
        return f"Flat {flat}, {random.choice(_NAMES['building'])} Apartments, {street} Road, {place}"
    home = random.choice((f"{house} {street} {way}", f"{house} {street} {way}", f"Flat {flat}, {house} {street} {way}"))
    return f"{home}, {place}"


_MAKERS: dict[str, Callable[[Random], str]] = {
    "email": email,
    "phone": phone,
    "card": card,
    "url": url,
    "ssn": ssn,
    "nhs": nhs_number,
    "nino": nino,
    "aadhaar": aadhaar,
    "address": address,
}
KINDS = (*_MAKERS, "name_greeting", "name_signature", "name_intro")


class Teller:
    """Plants private things in the sentences of a cell."""

    def __init__(self, language: Language) -> None:
        self._language = language
        carriers = read_lists("private.yaml", "\n")
        self._carriers = {key: [language.compile(text) for text in texts] for key, texts in carriers.items()}

    def plant(self, kind: str, column: str, sentences: list[str], random: Random) -> list[str]:
        """The sentences with one more that carries the thing, marked; a greeting and a signature take their places."""
        carrier = self._language.say(random.choice(self._carriers[f"{kind}_{column}"]), random)
        taken = set(_WORD.findall(" ".join([*sentences, carrier]).lower()))
        said = _HOLDER.sub(lambda holder: mark(kind, self._thing(kind, holder[1], taken, random)), carrier)
        if kind == "name_greeting":
            return [said, *sentences[1:]]
        if kind == "name_signature":
            return [*sentences[:-1], said]
        at = 1 if kind == "name_intro" else random.randint(1, len(sentences) - 1)
        return [*sentences[:at], said, *sentences[at:]]

    def _thing(self, kind: str, form: str, taken: set[str], random: Random) -> str:
        """The thing itself; no word of a name stands elsewhere in the cell, so that what is left can be told."""
        if kind in _MAKERS:
            return _MAKERS[kind](random)
        found = name(form, random)
        while taken.intersection(_WORD.findall(found.lower())):
            found = name(form, random)
        return found
