"""Measures of answers as text: how long, how repetitive, how varied."""

from __future__ import annotations

import re
from dataclasses import dataclass
from statistics import fmean

from lightning_med.evaluation.text.words import list_sequences, measure_repetition, split_words

_CHAT_DOCTOR = re.compile(r"chat\W*doctor", re.IGNORECASE)  # how the data's answers greet and sign


@dataclass(frozen=True)
class Measures:
    """Measures of one model's answers, or of the references.

    Attributes:
        ended: Share of answers that ended by themselves; `None` for references.
        words: Mean words of an answer.
        repeated: Share of an answer's sequences of four words that occurred in it before, mean over the answers.
        chat_doctor: Answers that say "Chat Doctor".
        distinct: Different pairs of neighbouring words over all pairs, of all answers together (distinct-2, Li et al.,
            2016, arXiv:1510.03055). It falls with the amount of text.
    """

    ended: float | None
    words: float
    repeated: float
    chat_doctor: int
    distinct: float


def measure_texts(texts: list[str], ended: list[bool] | None = None) -> Measures:
    """Measures answers.

    Args:
        texts: At least one.
        ended: For each, whether it ended by itself.
    """
    words = [split_words(text) for text in texts]
    pairs = [pair for row in words for pair in list_sequences(row, 2)]
    return Measures(
        None if ended is None else fmean(ended),
        fmean(map(len, words)),
        fmean(map(measure_repetition, words)),
        sum(bool(_CHAT_DOCTOR.search(text)) for text in texts),
        len(set(pairs)) / max(len(pairs), 1),
    )


def format_measures(measured: dict[str, Measures]) -> str:
    """Returns measures by name as a table in Markdown."""
    header = ("answers of", "ended by itself", "words", "repeated 4-grams", "Chat Doctor", "distinct-2")
    lines: list[tuple[str, ...]] = [header, tuple("---" for _ in header)]
    for name, values in measured.items():
        ended = "" if values.ended is None else f"{values.ended:.0%}"
        lines.append(
            (
                name.replace("|", "\\|"),
                ended,
                f"{values.words:.0f}",
                f"{values.repeated:.1%}",
                str(values.chat_doctor),
                f"{values.distinct:.2f}",
            )
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
