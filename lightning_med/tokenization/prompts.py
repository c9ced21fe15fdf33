"""The text around a consultation: system prompt, role markers and separators, for training and generation alike.

    You are a caring doctor. …

    Patient: My tongue hurts.

    Doctor: I am sorry to hear that. …<|endoftext|>

This is the format `plain`. In the format `chat` the segments are those of the base's own chat template; see
`lightning_med.tokenization.base_template`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from lightning_med.tokenization.turn_markers import break_marker, break_markers, cut_beginning
from lightning_med.utils.errors import InputError

SYSTEM_PROMPT = (
    "You are a caring doctor. Answer with empathy and clear, safe advice, and say when to seek care in person."
)
FORMATS = ("plain", "chat")
PATIENT, DOCTOR = "Patient:", "Doctor:"
QUOTE = "> "  # is put before a role marker that a user typed at the start of a line, so that it opens no turn
_TURN = rf"\n\s*(?:{PATIENT}|{DOCTOR})"
_MARKER = re.compile(rf"(?<=\n)([^\S\n]*)(?={PATIENT}|{DOCTOR})")


@dataclass(frozen=True)
class Prompt:
    """The fixed text around the questions and answers of a consultation, as segments.

    A consultation is `opening`, question, `answer_prefix`, answer, `end`, and for each further exchange
    `question_prefix`, question, `answer_prefix`, answer, `end`. The leads stand directly before a question or an answer
    and are part of it: the model writes an answer's lead itself. Without arguments it is the format `plain`.

    Args:
        system: System prompt before the first question; empty for none. Its tokens are part of every row.
        format: `plain` or `chat`.
        before_system: Text before the system prompt.
        after_system: Text between the system prompt and the first question.
        bare_opening: Text before the first question where there is no system prompt.
        question_lead: White space before a question.
        answer_prefix: Text between a question and its answer.
        answer_lead: White space before an answer.
        end: The end of an answer, which is learned: a control token, perhaps with white space before it. Empty for the
            tokenizer's end token.
        question_prefix: Text between the end of an answer and the next question of a conversation.
        markers: Text that opens a turn and is no control token; questions and answers must not contain it.
        stops: Control tokens beside the end that an answer is over at.
    """

    system: str = SYSTEM_PROMPT
    format: str = "plain"
    before_system: str = ""
    after_system: str = f"\n\n{PATIENT}"
    bare_opening: str = PATIENT
    question_lead: str = " "
    answer_prefix: str = f"\n\n{DOCTOR}"
    answer_lead: str = " "
    end: str = ""
    question_prefix: str = f"\n\n{PATIENT}"
    markers: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()

    @property
    def opening(self) -> str:
        """Text before the first question."""
        system = self.system.strip()
        return f"{self.before_system}{system}{self.after_system}" if system else self.bare_opening

    @property
    def fixed_texts(self) -> tuple[str, ...]:
        """All text of the prompt but the system prompt and the leads."""
        openings = (self.before_system, self.after_system, self.bare_opening)
        return (*openings, self.answer_prefix, self.end, self.question_prefix)

    @property
    def end_token(self) -> str:
        """The control token of `end`."""
        return self.end.lstrip()

    @property
    def turn_markers(self) -> tuple[str, ...]:
        """Ordinary text that opens a turn, in the format `plain` at the start of a line."""
        return (PATIENT, DOCTOR) if self.format == "plain" else self.markers

    def begin_with(self, text: str) -> Prompt:
        """Returns a copy that begins with some text, for instance the token of a text's beginning."""
        return replace(self, before_system=text + self.before_system, bare_opening=text + self.bare_opening)

    def protect(self, text: str) -> str:
        """Changes a question or an answer, which is untrusted text, so that it opens no turn."""
        return quote_roles(text) if self.format == "plain" else break_markers(text, self.markers)

    def list_segments(self, exchanges: Iterable[tuple[str, str]], ending: str) -> list[str]:
        """Returns the text of a conversation as segments, five an exchange.

        Args:
            exchanges: Questions and answers, untrusted text.
            ending: After each answer.
        """
        before, row = self.opening, []
        for question, answer in exchanges:
            question, answer = self.protect(question.strip()), self.protect(answer.strip())
            row += [before, self.question_lead + question, self.answer_prefix, self.answer_lead + answer, ending]
            before = self.question_prefix
        return row

    def find_turn(self, text: str) -> int | None:
        """Returns where a generated answer starts a new turn, the patient's or the doctor's own, if it does."""
        if self.format == "plain":
            match = re.search(_TURN, f"\n{text}")
            return match and max(match.start() - 1, 0)
        places = [place for place in map(text.find, self.markers) if place >= 0]
        return min(places, default=None)

    def cut_to_first_turn(self, text: str) -> str:
        """Cuts a generated answer where it starts a new turn."""
        return text[: self.find_turn(text)].strip()

    def cut_possible_turn(self, text: str) -> str:
        """Cuts the end of an unfinished answer that further text may turn into the start of a turn."""
        if self.format == "plain":
            before, _, line = f"\n{text}".rpartition("\n")
            starts = any(marker.startswith(line.lstrip()) for marker in (PATIENT, DOCTOR))
            return before[1:] if starts else text
        return cut_beginning(text, self.markers)

    def to_json(self) -> str:
        """Returns all fields as JSON, for `from_json`."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Prompt:
        """Returns the prompt that `to_json` has written.

        Raises:
            ValueError: It is no prompt: no JSON, or a field has another name or type, or a marker is empty.
        """
        stored = json.loads(text)
        if not isinstance(stored, dict):
            raise ValueError("it is no mapping")
        kinds = {field.name: type(field.default) for field in fields(cls)}
        read: dict[str, Any] = {}
        for name, value in stored.items():
            value = tuple(value) if isinstance(value, list) else value
            if name not in kinds:
                raise ValueError(f"it has no field {name!r}")
            if not isinstance(value, kinds[name]):
                raise ValueError(f"{name} is {value!r}")
            if isinstance(value, tuple) and not all(isinstance(item, str) and item.strip() for item in value):
                raise ValueError(f"{name} has an entry that is empty or no text")
            read[name] = value
        prompt = cls(**read)
        if prompt.format not in FORMATS:
            raise ValueError(f"format is {prompt.format!r}")
        return prompt

    def make_chat_template(self) -> str:
        """Returns a self-contained Jinja chat template that renders messages exactly as in training.

        The roles are `system` (first message only; replaces the system prompt), `user` (the patient) and `assistant`
        (the doctor). `chat_template.jinja` is the template; its variables are set in front of it.
        """
        segments: dict[str, Any] = {**asdict(self), "default_system": self.system.strip()}
        segments["breaks"] = [[marker, break_marker(marker)] for marker in self.markers]
        segments["roles"] = [PATIENT, DOCTOR] if self.format == "plain" else []
        for name in ("system", "format", "markers", "stops"):
            del segments[name]
        segments["quote"] = QUOTE
        # Every JSON string that keeps non-ASCII characters is a Jinja string literal of the same value.
        settings = [f"{{%- set {key} = {json.dumps(value, ensure_ascii=False)} %}}" for key, value in segments.items()]
        template = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")
        return "\n".join([*settings, template.strip()])


def read_prompt(settings: Mapping[str, Any], where: str = "The checkpoint") -> Prompt:
    """Returns the prompt of a checkpoint's card or of an export's settings.

    Args:
        settings: `prompt` is that of `Prompt.to_json`, as text or parsed. A file of before has `system_prompt` alone,
            and its format is `plain`.
        where: What holds them, for the error.

    Raises:
        InputError: There is no prompt in it, or a malformed one.
    """
    try:
        if "prompt" not in settings:
            return Prompt.from_json(json.dumps({"system": settings["system_prompt"]}))
        stored = settings["prompt"]
        return Prompt.from_json(stored if isinstance(stored, str) else json.dumps(stored))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)[:160]
        raise InputError(
            f"{where} has no prompt that can be read: {reason}.", "It is damaged: take another checkpoint or export."
        ) from error


def quote_roles(text: str) -> str:
    """Quotes role markers at the start of a line (the first line excepted), so that untrusted text opens no turn."""
    if PATIENT not in text and DOCTOR not in text:
        return text
    return _MARKER.sub(rf"\g<1>{QUOTE}", text)
