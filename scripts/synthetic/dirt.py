"""Defects of real tables of consultations: each function plants one in a cell and marks it."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from synthetic.language import join_sentences
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


def make_missing(sentences: Sentences, random: Random) -> str:
    """Empties the cell."""
    return mark("missing", "")


def make_blank(sentences: Sentences, random: Random) -> str:
    """Leaves only spaces."""
    return mark("blank", " " * random.randint(1, 6))


def make_short(sentences: Sentences, random: Random) -> str:
    """Leaves the first sentence, which the caller draws with fewer than five words."""
    return mark("short", sentences[0])


def add_double_spaces(sentences: Sentences, random: Random) -> str:
    """Widens one to four gaps between words to two spaces."""
    words = join_sentences(sentences).split(" ")
    wide = {random.randrange(1, len(words)) for _ in range(random.randint(1, 4))}
    gap = mark("double_space", "  ")
    return words[0] + "".join((gap if i in wide else " ") + words[i] for i in range(1, len(words)))


def add_outer_space(sentences: Sentences, random: Random) -> str:
    """Adds whitespace before the text, after it or both."""
    front, back = random.choice(
        ((" ", ""), ("", " "), ("", "  "), ("\n\t\t", ""), ("\r\n\n\t\t\t", "\t\t\t"), (" ", " "))
    )
    ends = [mark("outer_space", end) if end else "" for end in (front, back)]
    return ends[0] + join_sentences(sentences) + ends[1]


def glue_sentences(sentences: Sentences, random: Random) -> str:
    """Removes the space between two sentences."""
    kept = [sentence for sentence in sentences if sentence]
    places = [
        i
        for i in range(len(kept) - 1)
        if re.search(r"\b[a-z]{2,}[.?]$", kept[i]) and re.match("[A-Z][a-z]+ ", kept[i + 1])
    ]
    if not places:
        kept += [f"{text}." for text in random.choice(_GLUES)]
        places = [len(kept) - 2]
    place = random.choice(places)
    first, second = kept[place].rsplit(" ", 1), kept[place + 1].split(" ", 1)
    pair = f"{first[0]} {mark('glued', f'{first[1]}{second[0]}')} {second[1]}"
    return " ".join([*kept[:place], pair, *kept[place + 2 :]])


def add_html(sentences: Sentences, random: Random) -> str:
    """Adds an HTML entity or tag."""
    kept = [sentence for sentence in sentences if sentence]
    place = random.randrange(len(kept))
    first, *rest = kept[place].split(" ")
    words = " ".join(rest)
    kept[place] = random.choice(
        (
            f"{first}{mark('html', '&nbsp;')}{words}",
            f"Rest {mark('html', '&amp;')} fluids were tried. {kept[place]}",
            f"The level was {mark('html', '&lt;')} {random.randint(2, 200)} then. {kept[place]}",
            f"The level was {mark('html', '&gt;')} {random.randint(2, 200)} then. {kept[place]}",
            f"{mark('html', '<p>')}{kept[place]}{mark('html', '</p>')}",
            f"{kept[place]}{mark('html', '<br>')}",
            f"{kept[place]}{mark('html', '<br />')}",
        )
    )
    return " ".join(kept)


def add_mojibake(sentences: Sentences, random: Random) -> str:
    """Adds a sentence with UTF-8 that was decoded as Windows-1252."""
    before, word, after = random.choice(_BROKEN)
    place = random.randint(1, len(sentences) - 1)
    sentence = f"{before} {mark('mojibake', word.encode().decode('cp1252'))} {after}"
    return join_sentences([*sentences[:place], sentence, *sentences[place:]])


def add_advertising(sentences: Sentences, random: Random) -> str:
    """Replaces the last sentence with a footer that links to a website."""
    expert = random.choice(_EXPERTS)
    slug = expert.split(" ", 1)[1].replace(" ", "-").lower()
    site = random.choice(
        ("www.example-clinic.com/ask-a-doctor-online", "www.example.com/doctors", "ask.example.org/online")
    )
    footer = random.choice(_FOOTERS).format(expert, f"https://{site}/{slug}")
    return f"{join_sentences(sentences[:-1])} {mark('advertising', footer)}"


def cut_end(sentences: Sentences, random: Random) -> str:
    """Cuts the text: within a sentence, ending with "…" or "...", or within a word."""
    words = join_sentences(sentences[:-1]).split(" ")
    last = max(i for i in range(len(words) - 1) if words[i][-1] not in ".?!,")
    long = [i for i in range(3, last + 1) if words[i].isalpha() and len(words[i]) > 5]
    if long and random.random() < 0.5:
        return f"{' '.join(words[: long[-1]])} {mark('cut', words[long[-1]][:3])}"
    return f"{' '.join(words[:last])} {mark('cut', words[last] + random.choice(('…', '...', ' …')))}"


def add_chat_doctor(sentences: Sentences, random: Random) -> str:
    """Adds "Chat Doctor", which replaces names in a public data set: as greeting, signature or instead of words."""
    text, shape = join_sentences(sentences), random.choice(("opening", "end", "middle", "signature"))
    name = mark("chat_doctor", "Chat Doctor")
    if shape == "opening":
        return random.choice(_OPENINGS).replace("Chat Doctor", name) + join_sentences(sentences[1:])
    if shape == "signature":
        return f"{join_sentences(sentences[:-1])} Best wishes, {name}. "
    words = text.split(" ")
    first = random.randrange(len(words) // 2, len(words))
    if shape == "end" or len(sentences) < 4:
        return f"{' '.join(words[:first])} {name}. "
    return f"{' '.join(words[:first])} {name}.  {join_sentences(sentences[-2:])}"


def add_zero_width(sentences: Sentences, random: Random) -> str:
    """Inserts an invisible character."""
    text, character = join_sentences(sentences), mark("zero_width", random.choice(_INVISIBLE))
    place = random.randrange(1, len(text))
    return f"{text[:place]}{character}{text[place:]}"


MAKERS: dict[str, Callable[[Sentences, Random], str]] = {
    "missing": make_missing,
    "blank": make_blank,
    "short": make_short,
    "double_space": add_double_spaces,
    "outer_space": add_outer_space,
    "glued": glue_sentences,
    "html": add_html,
    "mojibake": add_mojibake,
    "advertising": add_advertising,
    "cut": cut_end,
    "chat_doctor": add_chat_doctor,
    "zero_width": add_zero_width,
}
IN_ANSWERS = ("short", "advertising", "cut")  # planted in answers only
