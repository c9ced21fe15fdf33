"""The text around a consultation: system prompt, role markers and separators, for training and generation alike.

    You are a caring doctor. …

    Patient: My tongue hurts.

    Doctor: I am sorry to hear that. …<|endoftext|>

Each segment starts with its own space or line break and ends with neither. GPT-2's pre-tokenizer merges nothing across
such a boundary, so encoding the segments one by one gives the same ids as encoding the whole text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

SYSTEM_PROMPT = (
    "You are a caring doctor. Answer with empathy and clear, safe advice, and say when to seek care in person."
)
PATIENT, DOCTOR = "Patient:", "Doctor:"
QUOTE = "> "  # is put before a role marker that a user typed at the start of a line, so that it opens no turn
_TURN = re.compile(rf"\n\s*(?:{PATIENT}|{DOCTOR})")
_MARKER = re.compile(rf"(?<=\n)([^\S\n]*)(?={PATIENT}|{DOCTOR})")


@dataclass(frozen=True)
class Prompt:
    """The fixed text around the questions and answers of a consultation.

    Args:
        system: System prompt before the first question; empty for none. Its tokens are part of every row.
    """

    system: str = SYSTEM_PROMPT

    @property
    def opening(self) -> str:
        """Text before the first question."""
        system = self.system.strip()
        return f"{system}\n\n{PATIENT}" if system else PATIENT

    @property
    def answer_prefix(self) -> str:
        """Text between a question and its answer."""
        return f"\n\n{DOCTOR}"

    @property
    def question_prefix(self) -> str:
        """Text between the end of an answer and the next question of a conversation."""
        return f"\n\n{PATIENT}"

    def make_chat_template(self) -> str:
        """Returns a self-contained Jinja chat template that renders messages exactly as in training.

        The roles are `system` (first message only; replaces the system prompt), `user` (the patient) and `assistant`
        (the doctor). `chat_template.jinja` is the template; its variables are set in front of it.
        """
        variables = {"patient": PATIENT, "doctor": DOCTOR, "quote": QUOTE, "default_system": self.system.strip()}
        # Every JSON string that keeps non-ASCII characters is a Jinja string literal of the same value.
        settings = [f"{{%- set {key} = {json.dumps(value, ensure_ascii=False)} %}}" for key, value in variables.items()]
        template = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")
        return "\n".join([*settings, template.strip()])


def quote_roles(text: str) -> str:
    """Quotes role markers at the start of a line (the first line excepted), so that untrusted text opens no turn."""
    if PATIENT not in text and DOCTOR not in text:
        return text
    return _MARKER.sub(rf"\g<1>{QUOTE}", text)


def cut_to_first_turn(text: str) -> str:
    """Cuts a generated answer where it starts a new turn, the patient's or the doctor's own."""
    return _TURN.split("\n" + text, maxsplit=1)[0].strip()
