"""Titles and explanations of the names in a data report."""

from __future__ import annotations

SPLIT_TITLES = {"train": "Training", "validation": "Validation", "test": "Test"}
LENGTH_TITLES = {"question": "Question", "answer": "Answer", "total": "The whole"}
EFFECT_TITLES = {"dropped": "Dropped", "mended": "Repaired", "counted": "Only counted", "off": "Switched off"}
RULE_TITLES = {  # name: title, explanation
    "missing": ("No question or no answer", "A field is absent."),
    "blank": ("Empty text", "Nothing but white space."),
    "duplicate": ("Exact copies", "The same question and answer as an earlier row."),
    "repeats_evaluation": (
        "Repeats an evaluation question",
        "A row to train on, in a group with an own validation or test row.",
    ),
    "in_checked_table": (
        "In a checked table",
        "A question or long answer equals, or nearly, one of the tables that were checked against.",
    ),
    "too_short": ("Answers too short", "Too few words to learn from."),
    "cut_answer": ("Answers that break off", "They stop in mid-sentence."),
    "unsafe_advice": ("Unsafe advice", "They advise against seeking care, or are abusive."),
    "lost_words": ("Lost words", "“Chat Doctor” replaced words that cannot be restored."),
    "not_learned": ("Nothing to learn", "No turn of the conversation is marked as one to learn."),
    "invisible": ("Invisible characters", "They split words or change the direction of writing."),
    "mojibake": ("Garbled letters", "Decoded wrongly, such as â€™ for an apostrophe."),
    "html": ("Markup of web pages", "Tags and codes such as &amp;."),
    "advertising": ("Advertising", "A last line with a link to an online service."),
    "chat_doctor": ("“Chat Doctor”", "A placeholder, removed where only a name is lost."),
    "apostrophes": ("Lost apostrophes", "“don t” becomes “don’t”."),
    "glued_sentences": ("Glued sentences", "No space between two sentences."),
    "whitespace": ("Uneven spacing", "Spaces at the ends, repeated spaces, empty lines."),
}
KIND_TITLES = {
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
    return RULE_TITLES.get(name) or (_humanize(name), "")


def describe_kind(name: str) -> str:
    """Returns the title of a kind of private data."""
    return KIND_TITLES.get(name) or _humanize(name)


def _humanize(name: object) -> str:
    return str(name).replace("_", " ").capitalize()
