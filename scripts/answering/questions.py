"""What is asked: ordinary questions of the length that patients write, none of them alike."""

from __future__ import annotations

from itertools import product

_PARTS = ("knee", "back", "skin", "foot", "elbow", "hand", "shoulder", "ankle")
_STATES = ("sore", "dry", "itchy", "stiff")
MOST = len(_PARTS) * len(_STATES)  # questions in a set


def make_questions(number: int, count: int) -> list[str]:
    """Returns the questions of one set.

    Args:
        number: Of the set, from 0; the questions of different sets differ from their second word on, so that what an
            engine has read of one helps it little with another.
        count: At most `MOST`.
    """
    days = number + 3
    return [
        f"For {days} days my {part} has been {state}. It began after a day of work in the garden, is a little worse in"
        " the evening and better after a night's sleep, and I have taken nothing for it yet. I am 41 years old and"
        " well otherwise. What can I do about it at home, and how long does it take to get better?"
        for part, state in list(product(_PARTS, _STATES))[:count]
    ]
