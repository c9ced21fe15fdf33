"""How a consultation reads: system prompt, roles, end. The one place, for training and for answering.

    You are a caring doctor. …

    Patient: My tongue hurts.

    Doctor: I am sorry to hear that. …<|endoftext|>

Each segment begins with its own space or line break and ends with neither. GPT-2's pre-tokenizer never joins across
such a seam, so encoding the segments one by one and encoding the whole text give the same ids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SYSTEM_PROMPT = (
    "You are a caring doctor. Answer with empathy and clear, safe advice, and say when to seek care in person."
)
PATIENT, DOCTOR = "Patient:", "Doctor:"
QUOTED = "> "  # stands before a role's marker that a person typed at a line's start, so that it opens no turn
_TURN = re.compile(rf"\n\s*(?:{PATIENT}|{DOCTOR})")
_MARKER = re.compile(rf"(?<=\n)([^\S\n]*)(?={PATIENT}|{DOCTOR})")


@dataclass(frozen=True)
class Prompt:
    """The text around a question and an answer.

    Args:
        system: What the model is told about its part; every row pays for its tokens. Empty for none.
    """

    system: str = SYSTEM_PROMPT

    @property
    def opening(self) -> str:
        """All that stands before the first question."""
        system = self.system.strip()
        return f"{system}\n\n{PATIENT}" if system else PATIENT

    @property
    def handover(self) -> str:
        """All that stands between a question and its answer."""
        return f"\n\n{DOCTOR}"

    @property
    def following(self) -> str:
        """All that stands between an answer's end and the next question of a conversation."""
        return f"\n\n{PATIENT}"

    def chat_template(self) -> str:
        """A Jinja template that renders chat messages exactly as training saw them.

        A first message of role `system` replaces the system prompt; `user` speaks as the patient, `assistant` as the
        doctor.
        """
        system = self.system.strip().replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
        opens = " or ".join(f"words.startswith('{marker}')" for marker in (PATIENT, DOCTOR))
        quoted = f"line[:line | length - words | length] ~ '{QUOTED}' ~ words"
        return (
            # As `without_roles`: no line of a person's text opens a role.
            "{%- macro outside(text) %}{%- for line in (text | trim).split('\\n') %}{%- set words = line.lstrip() %}"
            "{{- '' if loop.first else '\\n' }}"
            f"{{{{- {quoted} if not loop.first and ({opens}) else line }}}}"
            "{%- endfor %}{%- endmacro %}"
            "{%- if messages and messages[0].role == 'system' %}"
            "{%- set system = messages[0].content | trim %}{%- set turns = messages[1:] %}"
            f"{{%- else %}}{{%- set system = '{system}' %}}{{%- set turns = messages %}}{{%- endif %}}"
            "{{- system }}"
            "{%- for turn in turns %}"
            "{%- if system or not loop.first %}{{- '\\n\\n' }}{%- endif %}"
            f"{{%- if turn.role == 'user' %}}{{{{- '{PATIENT} ' + outside(turn.content) }}}}"
            f"{{%- elif turn.role == 'assistant' %}}{{{{- '{DOCTOR} ' + outside(turn.content) + eos_token }}}}"
            "{%- else %}{{- raise_exception('Roles are system (first), user and assistant.') }}{%- endif %}"
            "{%- endfor %}"
            f"{{%- if add_generation_prompt %}}{{{{- '\\n\\n{DOCTOR}' }}}}{{%- endif %}}"
        )


def quote_roles(text: str) -> str:
    """A text from outside in which no line opens a role: such a marker is quoted."""
    if PATIENT not in text and DOCTOR not in text:
        return text
    return _MARKER.sub(rf"\g<1>{QUOTED}", text)


def cut_to_first_turn(text: str) -> str:
    """A generated answer up to where it would begin to speak for the patient, or a second time for the doctor."""
    return _TURN.split("\n" + text, maxsplit=1)[0].strip()
