"""The Modelfile by which Ollama runs a GGUF file: prompt, system prompt and decoding settings of the training."""

from __future__ import annotations

import json

from lightning_med.inference.decoding import Decoding
from lightning_med.tokenization.prompts import DOCTOR, PATIENT, Prompt
from lightning_med.version import __version__

GGUF_FILE, MODELFILE = "model.gguf", "Modelfile"
MARK = "# Written by lightning-med"  # its first line begins with it


def make_modelfile(file: str, prompt: Prompt, stops: list[str], decoding: Decoding, context: int) -> str:
    """Returns the text of a Modelfile.

    Args:
        file: Name of the GGUF file, in the same folder.
        prompt: Of the training.
        stops: Control tokens that an answer is over at, its learned end first.
        decoding: Settings of answers. That no sequence of tokens occurs twice has no counterpart there.
        context: Tokens that the network can read at once.
    """
    system = prompt.system.strip()
    has_line = bool(system) and _is_kept(system)
    markers = [f"\n{PATIENT}", f"\n{DOCTOR}"] if prompt.format == "plain" else list(prompt.markers)
    parameters: list[tuple[str, object]] = [("stop", _quote(text)) for text in (*stops, *markers) if _is_kept(text)]
    parameters += [
        ("num_ctx", context),
        ("num_predict", decoding.max_new_tokens),
        ("temperature", decoding.temperature),
    ]
    parameters += [("top_p", decoding.top_p), ("top_k", 0), ("min_p", decoding.min_p)]
    # Its own penalty of 1.1 would hold otherwise. It counts the last tokens, those of the prompt among them.
    parameters += [("repeat_penalty", decoding.repetition_penalty), ("repeat_last_n", 64)]
    lines = [
        f"{MARK} {__version__}. For research and education only. Not a medical device.",
        "#   ollama create NAME -f Modelfile",
        f"FROM ./{file}",
        f"TEMPLATE {_quote(make_go_template(prompt, stops[0], '' if has_line else system))}",
        *([f"SYSTEM {_quote(system)}"] if has_line else []),
        *(f"PARAMETER {name} {value}" for name, value in parameters),
    ]
    return "\n".join(lines) + "\n"


def make_go_template(prompt: Prompt, end: str, system: str = "") -> str:
    """Returns a template in the language of Go's text/template, as Ollama fills it in with `.System` and `.Messages`.

    It renders what was trained on, for one question and for several. An answer that comes last is left open, so that it
    is continued. Two things cannot be said in that language: questions are not stripped of white space around them,
    and markers of turns in them are not broken.

    Args:
        prompt: Of the training.
        end: The token that ends an answer, where the prompt names none.
        system: System prompt of a conversation that has none.
    """
    bare = prompt.before_system + system + prompt.after_system if system else prompt.bare_opening
    before, after = _literal(prompt.before_system), _literal(prompt.after_system)
    lines = [
        f"{{{{- if .System }}}}{before}{{{{ .System }}}}{after}{{{{ else }}}}{_literal(bare)}{{{{ end }}}}",
        "{{- $asked := false }}",
        "{{- range $number, $message := .Messages }}",
        '{{- if eq $message.Role "user" }}',
        f"{{{{- if $asked }}}}{_literal(prompt.question_prefix)}{{{{ end }}}}{{{{ $asked = true }}}}",
        f"{{{{- {_string(prompt.question_lead)} }}}}{{{{ $message.Content }}}}{_literal(prompt.answer_prefix)}",
        '{{- else if eq $message.Role "assistant" }}',
        f"{{{{- {_string(prompt.answer_lead)} }}}}{{{{ $message.Content }}}}",
        f"{{{{- if ne (len (slice $.Messages $number)) 1 }}}}{_literal(prompt.end or end)}{{{{ end }}}}",
        "{{- end }}",
        "{{- end }}",
    ]
    return "\n".join(lines)


def _string(text: str) -> str:
    """A string of Go; a JSON string of characters that can be printed is one of the same value."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)


def _literal(text: str) -> str:
    return f"{{{{ {_string(text)} }}}}" if text else ""


def _is_kept(text: str) -> bool:
    """Whether Ollama's parser keeps a quoted text: it drops what cannot be printed, and three quotes may end it."""
    return '"""' not in text and all(char.isprintable() or char in "\n\t" for char in text)


def _quote(text: str) -> str:
    return f'"""{text}"""'
