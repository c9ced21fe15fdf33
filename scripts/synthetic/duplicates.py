"""A question changed in a few words, to a likeness that is measured."""

from __future__ import annotations

from random import Random

from synthetic.shingles import jaccard, shingles

NEAR, BELOW = (0.80, 0.95), (0.60, 0.78)
_TRIES = 30


def likeness(left: str, right: str) -> tuple[float, float]:
    """The Jaccard index with a space and with nothing in the place of punctuation; near a border both must agree."""
    spaced, bare = (jaccard(shingles(left, between), shingles(right, between)) for between in (" ", ""))
    return spaced, bare


def altered(question: str, bounds: tuple[float, float], words: list[str], random: Random) -> tuple[str, float] | None:
    """The question with words changed, added, lost or swapped, and its likeness; None if no try falls within bounds."""
    low, high = bounds
    size = len(shingles(question))
    for _ in range(_TRIES):
        aim = low + (high - low) * (0.1 + 0.8 * random.random())
        changed = question.split(" ")
        for _ in range(max(round(size * (1 - aim) / (1 + aim) / 3), 1)):
            _change(changed, words, random)
        text = " ".join(changed)
        alike = likeness(question, text)
        if all(low + 0.005 < value < high - 0.005 for value in alike):
            return text, alike[0]
    return None


def _change(text: list[str], words: list[str], random: Random) -> None:
    """One word of a text changes, in place; signs of punctuation stay where they were."""
    at = random.randrange(len(text))
    kind = random.random()
    if text[at].isdigit():
        text[at] = str(int(text[at]) + random.randint(1, 9))
    elif not text[at].isalpha() or kind < 0.2:
        text.insert(at, random.choice(words))
    elif kind < 0.4 and len(text) > 12:
        del text[at]
    else:
        text[at] = random.choice(words)
