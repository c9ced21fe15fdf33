"""What the guard changed in an answer, as text."""

from __future__ import annotations

from difflib import SequenceMatcher

from lightning_med.safety.answers.unsafe_sentences import split_sentences


def describe_changes(raw: str, shown: str) -> str:
    """Returns the model's text beside the text that was shown, a sentence a line.

    Args:
        raw: What the model wrote.
        shown: What the guard let through, without fixed texts.

    Returns:
        Lines that begin with `-` for what the model alone wrote, with `+` for what was shown instead, else with a
        space; the model's text alone where both are the same.
    """
    wrote, saw = _list_sentences(raw), _list_sentences(shown)
    if wrote == saw:
        return raw.strip()
    lines: list[str] = []
    for change, start, end, first, last in SequenceMatcher(a=wrote, b=saw, autojunk=False).get_opcodes():
        if change == "equal":
            lines += [f"  {sentence}" for sentence in wrote[start:end]]
        else:
            lines += [f"- {sentence}" for sentence in wrote[start:end]]
            lines += [f"+ {sentence}" for sentence in saw[first:last]]
    return "\n".join(lines)


def _list_sentences(text: str) -> list[str]:
    return [" ".join(sentence.split()) for sentence in split_sentences(text)]
