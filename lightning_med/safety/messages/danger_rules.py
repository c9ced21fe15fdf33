"""The rules, read from `rules.yaml` and made ready once.

A pattern is concepts (`$chest`) and phrases (`cold sweat`) joined by how near they must be: `~` within a few words of
one sentence, in any order; `&` within about twenty-four words; `+` anywhere. `!` before one: it must not be there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lightning_med.safety.messages.phrase_matcher import PhraseMatcher
from lightning_med.safety.yaml_files import read_yaml

PATH = Path(__file__).with_name("rules.yaml")
PATTERNS = ("alarm", "urgent", "hints")
LEVELS = ("emergency", "crisis", "harmful", "urgent", "ordinary")
_NEAR, _PASSAGE = 6, 24  # words between the parts of a pattern
_MOST = 400  # mentions of one concept that are looked at

Place = tuple[int, int, str | None]  # where a mention begins and ends, and the reason against it
Places = dict[str, list[Place]]


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a rule looks for.

    Attributes:
        text: As the rules have it.
        groups: Concepts by nearness: the message's parts, each of passages, each of near concepts.
        absent: Concepts that must not be there.
        needed: All concepts that must.
    """

    text: str
    groups: tuple[tuple[tuple[str, ...], ...], ...]
    absent: tuple[str, ...]
    needed: frozenset[str]

    def found(self, places: Places, sentences: list[int]) -> list[Place] | None:
        """Where it is met; `None` where it is not.

        Args:
            places: The mentions that count, by concept, in order.
            sentences: The number of each word's sentence.
        """
        if not self.needed <= places.keys():
            return None
        if any(reason is None for name in self.absent for _, _, reason in places.get(name, ())):
            return None
        chosen: list[Place] = []
        for group in self.groups:
            best: list[Place] | None = None
            for candidate in _find_passages([_join_near(near, places, sentences) for near in group]):
                best = candidate
                if all(reason is None for _, _, reason in candidate):
                    break
            if best is None:
                return None
            chosen += best
        return chosen


@dataclass(frozen=True)
class Category:
    """One kind of danger.

    Attributes:
        name, title, source: Of the medical fact.
        level: Of its alarm: emergency, crisis or harmful.
        alarm, urgent: Patterns that decide alone.
        hints: Patterns that look-alikes meet too often to decide alone: the classifier weighs them.
        examples, counter_examples: Messages that must and must not alarm.
    """

    name: str
    title: str
    level: str
    source: str
    alarm: tuple[Pattern, ...]
    urgent: tuple[Pattern, ...]
    hints: tuple[Pattern, ...]
    examples: tuple[str, ...]
    counter_examples: tuple[str, ...]


@dataclass(frozen=True)
class Rulebook:
    """All categories, and the lexicon of their concepts."""

    lexicon: PhraseMatcher
    background: frozenset[str]
    categories: dict[str, Category] = field(default_factory=dict)


@cache
def load_rulebook() -> Rulebook:
    """The rules that are shipped."""
    return compile_rules(read_rules())


def read_rules() -> dict[str, Any]:
    """Reads the rules as they are written."""
    return read_yaml(PATH)


def compile_rules(rules: dict[str, Any]) -> Rulebook:
    """Rules made ready.

    Raises:
        ValueError: A pattern names a concept that is not there, or a level is unknown.
    """
    concepts = {f"@{name}": _split_phrases(phrases) for name, phrases in rules["context"].items()}
    named = {f"${name}": _split_phrases(phrases) for name, phrases in rules["concepts"].items()}
    for name in named:
        concepts[name] = list(_expand_concept(name, named, ()))
    categories = {}
    for name, entry in rules["categories"].items():
        if entry["level"] not in LEVELS[:3]:
            raise ValueError(f"{name}: there is no level {entry['level']!r}")
        alarm, urgent, hints = (
            tuple(_parse_pattern(text, concepts, named, name) for text in entry.get(key) or ()) for key in PATTERNS
        )
        said = [tuple(entry.get(key) or ()) for key in ("examples", "counter_examples")]
        categories[name] = Category(name, entry["title"], entry["level"], entry["source"], alarm, urgent, hints, *said)
    return Rulebook(
        PhraseMatcher(concepts, frozenset(("@negation",))),
        frozenset(f"${name}" for name in _split_phrases(rules["background"])),
        categories,
    )


def _split_phrases(text: str) -> list[str]:
    """Phrases that commas separate."""
    return [phrase for piece in text.split(",") if (phrase := " ".join(piece.split()))]


def _expand_concept(name: str, named: dict[str, list[str]], within: tuple[str, ...]) -> Iterator[str]:
    """The phrases of a concept, those of the concepts that it holds among them."""
    if name not in named:
        raise ValueError(f"there is no concept {name} (in {within[-1] if within else 'the rules'})")
    if name in within:
        raise ValueError(f"the concept {name} holds itself")
    for phrase in named[name]:
        if phrase.startswith("$") and " " not in phrase:
            yield from _expand_concept(phrase, named, (*within, name))
        else:
            yield phrase


def _parse_pattern(text: str, concepts: dict[str, list[str]], named: dict[str, list[str]], category: str) -> Pattern:
    groups: list[tuple[tuple[str, ...], ...]] = []
    absent: list[str] = []
    for group in text.split(" + "):
        nears = []
        for near in group.split(" & "):
            parts: list[str] = []
            for part in near.split(" ~ "):
                wanted = part.strip().removeprefix("!").strip()
                if wanted.startswith("$"):
                    if wanted not in named:
                        raise ValueError(f"{category}: there is no concept {wanted}, in {text!r}")
                else:
                    concepts.setdefault(wanted, [phrase.strip() for phrase in wanted.split("/")])
                (absent if part.strip().startswith("!") else parts).append(wanted)
            if parts:
                nears.append(tuple(parts))
        if nears:
            groups.append(tuple(nears))
    needed = frozenset(concept for group in groups for near in group for concept in near)
    return Pattern(text, tuple(groups), tuple(absent), needed)


def _join_near(near: tuple[str, ...], places: Places, sentences: list[int]) -> list[list[Place]]:
    """Every way to find near concepts in one sentence, a few words apart."""
    ways = [[place] for place in places[near[0]][:_MOST]]
    for concept in near[1:]:
        further, starts = places[concept][:_MOST], [place[0] for place in places[concept][:_MOST]]
        longer: list[list[Place]] = []
        for way in ways:
            low, high = min(place[0] for place in way), max(place[1] for place in way)
            sentence = sentences[way[0][0]]
            for other in further[max(bisect_left(starts, low - 2 * _NEAR - 12), 0) :]:
                if other[0] > high + _NEAR:
                    break
                apart = other[1] < low - _NEAR or sentences[other[0]] != sentence
                if not apart and all(other[:2] != place[:2] for place in way):
                    longer.append([*way, other])
            if len(longer) > _MOST:
                break
        ways = longer
    return ways


def _find_passages(terms: list[list[list[Place]]]) -> Iterator[list[Place]]:
    """Every way to find all terms within a passage."""
    if not all(terms):
        return
    open_: list[tuple[int, list[Place]]] = [(0, [])]
    tried = 0
    while open_ and tried < 10 * _MOST:
        number, chosen = open_.pop()
        if number == len(terms):
            yield chosen
            continue
        for way in terms[number]:
            tried += 1
            low, high = min(place[0] for place in way), max(place[1] for place in way)
            if any(one[0] < other[1] and other[0] < one[1] for one in way for other in chosen):
                continue  # one word says one thing
            if not chosen or (
                low <= max(place[1] for place in chosen) + _PASSAGE
                and high >= min(place[0] for place in chosen) - _PASSAGE
            ):
                open_.append((number + 1, [*chosen, *way]))
