"""Changes a question in a few words, to a measured similarity."""

from __future__ import annotations

from random import Random

from synthetic.shingles import compute_jaccard, make_shingles

NEAR, BELOW = (0.80, 0.95), (0.60, 0.78)  # bounds of the Jaccard index: of near-duplicates, of pairs that are none
_TRIES = 30


def compute_similarities(left: str, right: str) -> tuple[float, float]:
    """Returns the Jaccard index with punctuation replaced by spaces, and with punctuation removed.

    Both must lie within the bounds, so that a pair near a bound does not depend on how punctuation is handled.
    """
    spaced, removed = (
        compute_jaccard(make_shingles(left, replacement), make_shingles(right, replacement))
        for replacement in (" ", "")
    )
    return spaced, removed


def alter_question(
    question: str, bounds: tuple[float, float], words: list[str], random: Random
) -> tuple[str, float] | None:
    """Replaces, inserts or removes words of a question.

    Args:
        question: The text.
        bounds: Lowest and highest Jaccard index of the result with the question.
        words: Words to insert.
        random: Source of random numbers.

    Returns:
        The changed question and its Jaccard index; `None` if no try is within the bounds.
    """
    low, high = bounds
    size = len(make_shingles(question))
    for _ in range(_TRIES):
        target = low + (high - low) * (0.1 + 0.8 * random.random())
        changed = question.split(" ")
        for _ in range(max(round(size * (1 - target) / (1 + target) / 3), 1)):
            _change_word(changed, words, random)
        text = " ".join(changed)
        similarities = compute_similarities(question, text)
        if all(low + 0.005 < value < high - 0.005 for value in similarities):
            return text, similarities[0]
    return None


def _change_word(text: list[str], words: list[str], random: Random) -> None:
    """Changes, inserts or removes one word in place; punctuation is kept."""
    place = random.randrange(len(text))
    kind = random.random()
    if text[place].isdigit():
        text[place] = str(int(text[place]) + random.randint(1, 9))
    elif not text[place].isalpha() or kind < 0.2:
        text.insert(place, random.choice(words))
    elif kind < 0.4 and len(text) > 12:
        del text[place]
    else:
        text[place] = random.choice(words)
