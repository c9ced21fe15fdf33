"""Titles and explanations of the names in a data report."""

from __future__ import annotations

SPLITS = {"train": "Training", "validation": "Validation", "test": "Test"}
LENGTHS = {"question": "Question", "answer": "Answer", "total": "The whole"}
EFFECTS = {"dropped": "Dropped", "mended": "Mended", "counted": "Only counted", "off": "Switched off"}
RULES = {  # name: title, explanation
    "missing": ("No question or no answer", "A field is absent."),
    "blank": ("Empty text", "Nothing but white space."),
    "duplicate": ("Exact copies", "Question and answer were there before; the first stays."),
    "too_short": ("Answers too short", "Too few words to learn from."),
    "cut_answer": ("Answers that break off", "They stop in mid-sentence."),
    "unsafe_advice": ("Unsafe advice", "They talk a patient out of care, or abuse."),
    "lost_words": ("Lost words", "“Chat Doctor” stands where words once stood."),
    "invisible": ("Invisible signs", "They split words or turn the direction of writing."),
    "mojibake": ("Garbled letters", "Read in a wrong encoding, such as â€™ for an apostrophe."),
    "html": ("Markup of web pages", "Tags and codes such as &amp;."),
    "advertising": ("Advertising", "A last line that leads to an online service."),
    "chat_doctor": ("“Chat Doctor”", "A placeholder, taken out where nothing is lost."),
    "apostrophes": ("Lost apostrophes", "“don t” becomes “don’t”."),
    "glued_sentences": ("Glued sentences", "No space where a new sentence begins."),
    "whitespace": ("Uneven spacing", "Spaces at the ends, repeated spaces, empty lines."),
}
KINDS = {
    "EMAIL": "E-mail addresses",
    "URL": "Web addresses",
    "PHONE": "Telephone numbers",
    "CARD": "Payment card numbers",
    "NATIONAL_ID": "National identity numbers",
    "ADDRESS": "Postal addresses",
    "NAME": "Names of persons",
}


def describe_rule(name: str) -> tuple[str, str]:
    """Returns a rule's title and explanation; a rule without them goes by its own name."""
    return RULES.get(name) or (_humanize(name), "")


def describe_kind(name: str) -> str:
    """Returns the title of a kind of private data."""
    return KINDS.get(name) or _humanize(name)


def _humanize(name: object) -> str:
    return str(name).replace("_", " ").capitalize()
