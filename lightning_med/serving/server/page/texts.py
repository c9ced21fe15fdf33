"""What the page says, and how texts are put into it so that they stay texts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from lightning_med.safety.levels import CRISIS, EMERGENCY, URGENT
from lightning_med.serving.conversation import ASSISTANT, MAX_LENGTH, USER
from lightning_med.serving.server.page.talk import Alarm, Talk

HEADING = "Ask a health question"
DISCLAIMER = (
    "For research and education; never a substitute for care. Answers come from software and may be wrong."
    " In an emergency, call your emergency number now."
)
MARKED = (
    "If you give a thumb, the question and the answer are kept on this server. Names, numbers and addresses that our"
    " rules find are replaced first."
)
EMPTY = "No question yet."
HINT = "Enter sends, Shift+Enter begins a new line. Leave out names and other private details."
ASK_FIRST = "Please write a question first."
STILL_WRITING = "An answer is being written. Wait for its end, or stop it, before you ask again."
TOO_MANY_PEOPLE = "Many people are waiting at the moment. Please ask again in a minute; your question is kept below."
NOT_RECORDED = "No question can be answered at the moment. Please ask again later; your question is kept below."
TOO_MANY_TURNS = "This conversation has become very long. Clear it to begin a new one."
WRITING = "Writing …"
STOPPED = "[stopped]"
FAILED = "The answer could not be finished. Please ask again."
_TITLES = {
    EMERGENCY: "This may be an emergency",
    CRISIS: "Please get help now",
    URGENT: "Please read this first",
}


def tell_length(length: int) -> str:
    """Says that a question is too long."""
    return f"Your question has {length:,} characters; {MAX_LENGTH:,} can be read. Please shorten it."


def tell_wait(before: int) -> str:
    """Says how many answers come first."""
    return f"Waiting: {before} before you" if before else WRITING


def clean(text: str) -> str:
    """Returns a text without halves of characters, which no answer to a browser may hold."""
    return text.encode("utf-8", "replace").decode()


def show_messages(talk: Talk, status: str = "") -> list[dict[str, Any]]:
    """Returns a conversation as the chat shows it.

    Args:
        talk: The conversation.
        status: Shown in place of the last answer while there is no text of it.
    """
    messages: list[dict[str, Any]] = []
    for turn in talk.turns:
        messages += [_show(USER, turn.question), _show(ASSISTANT, turn.shown or status)]
    return messages


def _show(role: str, text: str) -> dict[str, Any]:
    """A message whose text stays text: the chat puts it into the page as HTML, whatever its settings say.

    As a part and not as a string: of a string, leading blanks are removed. Quotation marks are left alone: escaped,
    they would be read out as their code, and outside attributes they are harmless.
    """
    return {"role": role, "content": [{"type": "text", "text": escape(clean(text), quote=False)}]}


def make_card(alarm: Alarm | None) -> str:
    """Returns the block above the chat, on one line: in a block of HTML without empty lines Markdown means nothing.

    The keyboard reaches it, since a long one scrolls on a small screen.
    """
    if alarm is None:
        return ""
    role = "status" if alarm.level == URGENT else "alert"
    lines = "".join(f"<p>{escape(line)}</p>" for line in clean(alarm.advice).splitlines() if line.strip())
    return f'<div class="card {alarm.level}" role="{role}" tabindex="0"><h2>{_TITLES[alarm.level]}</h2>{lines}</div>'


def make_note(text: str) -> str:
    """Returns the line above the question that says why it was not sent."""
    return f'<p class="note" role="alert">{escape(" ".join(clean(text).split()))}</p>' if text else ""


def make_heading(model: str) -> str:
    """Returns the top of the page."""
    name = escape(" ".join(clean(model).split()))
    return f'<div class="heading"><h1>{HEADING}</h1><p>Answered by the model <b>{name}</b></p></div>'


def make_facts(facts: Sequence[tuple[str, str]]) -> str:
    """Returns the panel's labels and values."""
    pairs = ((escape(" ".join(clean(part).split())) for part in pair) for pair in facts)
    return f'<dl class="facts">{"".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in pairs)}</dl>'


def make_line(text: str, name: str) -> str:
    """Returns a text of ours as a paragraph of a class."""
    return f'<p class="{name}">{escape(text)}</p>'
