"""What is wrong in tables of real consultations, planted one at a time and marked."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from synthetic.language import joined
from synthetic.marks import mark

Sentences = list[str]
_FOOTERS = (
    "For more information consult {} online -->  {}",
    "For further information consult {} online --> {}",
    "For further queries consult {} online -->  {}",
    "Revert back to {} online for further help --> {}",
    "Revert with more information to {} online -->  {}",
    "For further doubts contact {} online --> {}",
)
_EXPERTS = (
    "a cardiologist",
    "an internal medicine physician",
    "a dermatologist",
    "an ENT otolaryngologist",
    "a psychiatrist",
)
_BROKEN = (
    ("I", "don’t", "know what to do."),
    ("It", "isn’t", "getting better."),
    ("They", "can’t", "say why."),
    ("It", "doesn’t", "hurt now."),
    ("The", "fiancé", "has it too."),
    ("It was", "37°C", "at noon."),
    ("A", "naïve", "question perhaps."),
    ("Maybe", "Ménière", "trouble again."),
    ("It lasts", "5–6", "hours."),
    ("They call it", "“stable", "so far."),
)
_GLUES = (
    (r"It comes and goes", "Please read on"),
    ("That is all for now", "Do tell me"),
    ("So it is", "One more thing"),
)
_OPENINGS = (
    "Hello,I am Chat Doctor. ",
    "Thanks for your question on Chat Doctor. ",
    "Welcome to Chat Doctor. ",
    "Hi, I am Chat Doctor. ",
)
_INVISIBLE = ("\u200b", "\ufeff", "\u200d", "\u2060", "\u200c")


def missing(sentences: Sentences, random: Random) -> str:
    """Nothing at all."""
    return mark("missing", "")


def blank(sentences: Sentences, random: Random) -> str:
    """Only spaces."""
    return mark("blank", " " * random.randint(1, 6))


def short(sentences: Sentences, random: Random) -> str:
    """Under five words; the sentence is the language's."""
    return mark("short", sentences[0])


def double_space(sentences: Sentences, random: Random) -> str:
    """One to four wide gaps."""
    words = joined(sentences).split(" ")
    wide = {random.randrange(1, len(words)) for _ in range(random.randint(1, 4))}
    gap = mark("double_space", "  ")
    return words[0] + "".join((gap if at in wide else " ") + words[at] for at in range(1, len(words)))


def outer_space(sentences: Sentences, random: Random) -> str:
    """Spaces, tabs or lines before, after or both."""
    front, back = random.choice(
        ((" ", ""), ("", " "), ("", "  "), ("\n\t\t", ""), ("\r\n\n\t\t\t", "\t\t\t"), (" ", " "))
    )
    ends = [mark("outer_space", end) if end else "" for end in (front, back)]
    return ends[0] + joined(sentences) + ends[1]


def glued(sentences: Sentences, random: Random) -> str:
    """Two sentences without the space between them."""
    kept = [sentence for sentence in sentences if sentence]
    places = [
        at
        for at in range(len(kept) - 1)
        if re.search(r"\b[a-z]{2,}[.?]$", kept[at]) and re.match("[A-Z][a-z]+ ", kept[at + 1])
    ]
    if not places:
        kept += [f"{text}." for text in random.choice(_GLUES)]
        places = [len(kept) - 2]
    at = random.choice(places)
    first, second = kept[at].rsplit(" ", 1), kept[at + 1].split(" ", 1)
    pair = f"{first[0]} {mark('glued', f'{first[1]}{second[0]}')} {second[1]}"
    return " ".join([*kept[:at], pair, *kept[at + 2 :]])


def html(sentences: Sentences, random: Random) -> str:
    """Entities and tags."""
    kept = [sentence for sentence in sentences if sentence]
    at = random.randrange(len(kept))
    first, *rest = kept[at].split(" ")
    words = " ".join(rest)
    kept[at] = random.choice(
        (
            f"{first}{mark('html', '&nbsp;')}{words}",
            f"Rest {mark('html', '&amp;')} fluids were tried. {kept[at]}",
            f"The level was {mark('html', '&lt;')} {random.randint(2, 200)} then. {kept[at]}",
            f"The level was {mark('html', '&gt;')} {random.randint(2, 200)} then. {kept[at]}",
            f"{mark('html', '<p>')}{kept[at]}{mark('html', '</p>')}",
            f"{kept[at]}{mark('html', '<br>')}",
            f"{kept[at]}{mark('html', '<br />')}",
        )
    )
    return " ".join(kept)


def mojibake(sentences: Sentences, random: Random) -> str:
    """UTF-8 read as Windows-1252."""
    before, word, after = random.choice(_BROKEN)
    at = random.randint(1, len(sentences) - 1)
    said = f"{before} {mark('mojibake', word.encode().decode('cp1252'))} {after}"
    return joined([*sentences[:at], said, *sentences[at:]])


def advertising(sentences: Sentences, random: Random) -> str:
    """A footer that sends the reader elsewhere."""
    expert = random.choice(_EXPERTS)
    slug = expert.split(" ", 1)[1].replace(" ", "-").lower()
    site = random.choice(
        ("www.example-clinic.com/ask-a-doctor-online", "www.example.com/doctors", "ask.example.org/online")
    )
    footer = random.choice(_FOOTERS).format(expert, f"https://{site}/{slug}")
    return f"{joined(sentences[:-1])} {mark('advertising', footer)}"


def cut(sentences: Sentences, random: Random) -> str:
    """The end is lost: in mid-sentence before "…", or in mid-word."""
    words = joined(sentences[:-1]).split(" ")
    last = max(at for at in range(len(words) - 1) if words[at][-1] not in ".?!,")
    long = [at for at in range(3, last + 1) if words[at].isalpha() and len(words[at]) > 5]
    if long and random.random() < 0.5:
        return f"{' '.join(words[: long[-1]])} {mark('cut', words[long[-1]][:3])}"
    return f"{' '.join(words[:last])} {mark('cut', words[last] + random.choice(('…', '...', ' …')))}"


def chat_doctor(sentences: Sentences, random: Random) -> str:
    """The name that was put for every doctor's, as a greeting or a signature, or in place of words."""
    text, shape = joined(sentences), random.choice(("opening", "end", "middle", "signature"))
    name = mark("chat_doctor", "Chat Doctor")
    if shape == "opening":
        return random.choice(_OPENINGS).replace("Chat Doctor", name) + joined(sentences[1:])
    if shape == "signature":
        return f"{joined(sentences[:-1])} Best wishes, {name}. "
    words = text.split(" ")
    first = random.randrange(len(words) // 2, len(words))
    if shape == "end" or len(sentences) < 4:
        return f"{' '.join(words[:first])} {name}. "
    return f"{' '.join(words[:first])} {name}.  {joined(sentences[-2:])}"


def zero_width(sentences: Sentences, random: Random) -> str:
    """Signs that cannot be seen, in words or between them."""
    text, sign = joined(sentences), mark("zero_width", random.choice(_INVISIBLE))
    at = random.randrange(1, len(text))
    return f"{text[:at]}{sign}{text[at:]}"


MAKERS: dict[str, Callable[[Sentences, Random], str]] = {
    "missing": missing,
    "blank": blank,
    "short": short,
    "double_space": double_space,
    "outer_space": outer_space,
    "glued": glued,
    "html": html,
    "mojibake": mojibake,
    "advertising": advertising,
    "cut": cut,
    "chat_doctor": chat_doctor,
    "zero_width": zero_width,
}
IN_ANSWERS = ("short", "advertising", "cut")  # the others are in questions as often
