"""The rules of `danger_rules.yaml`, parsed: categories of danger, each with patterns over concepts.

A pattern joins concepts (`$chest`) and phrases (`cold sweat`): `~` within a few words of one sentence, in any order;
`&` within about 24 words; `+` anywhere in the message. `!` before a concept: it must not occur.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lightning_med.safety.levels import CRISIS, EMERGENCY, HARMFUL
from lightning_med.safety.messages.phrase_matcher import PhraseMatcher
from lightning_med.safety.yaml_files import read_yaml
from lightning_med.utils.memory.garbage import pause_collection

PATH = Path(__file__).with_name("danger_rules.yaml")
_LEVELS = (EMERGENCY, CRISIS, HARMFUL)


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of a rule.

    Attributes:
        text: As in the file.
        groups: The concepts that must occur: the parts joined by `+`, of parts joined by `&`, of parts joined by `~`.
        absent: The concepts that must not occur.
        needed: All concepts of `groups`.
    """

    text: str
    groups: tuple[tuple[tuple[str, ...], ...], ...]
    absent: tuple[str, ...]
    needed: frozenset[str]


@dataclass(frozen=True)
class Category:
    """A category of danger.

    Attributes:
        name, title: For programs and for people.
        level: Of its alarm: emergency, crisis or harmful.
        source: Of the medical facts.
        alarm: Patterns that raise a message to `level`; maybe none, then the classifier alone finds the category.
        examples, counter_examples: Messages that should and should not alarm.
    """

    name: str
    title: str
    level: str
    source: str
    alarm: tuple[Pattern, ...]
    examples: tuple[str, ...]
    counter_examples: tuple[str, ...]


@dataclass(frozen=True)
class Rulebook:
    """All categories, and the matcher of their concepts.

    Attributes:
        matcher: Finds the concepts in a message.
        background: Concepts that count even if they are past or lasting.
        categories: By name, in the file's order.
    """

    matcher: PhraseMatcher
    background: frozenset[str]
    categories: dict[str, Category] = field(default_factory=dict)


@cache
def load_rulebook() -> Rulebook:
    """Loads the rules that are part of the package."""
    with pause_collection():
        return compile_rules(read_rules())


def read_rules() -> dict[str, Any]:
    """Reads the content of `danger_rules.yaml`."""
    return read_yaml(PATH)


def compile_rules(rules: dict[str, Any]) -> Rulebook:
    """Parses rules.

    Args:
        rules: The content of a file of rules.

    Raises:
        ValueError: A pattern names an unknown concept, or a category an unknown level.
    """
    concepts = {f"@{name}": _split_phrases(phrases) for name, phrases in rules["context"].items()}
    named = {f"${name}": _split_phrases(phrases) for name, phrases in rules["concepts"].items()}
    for name in named:
        concepts[name] = list(_expand_concept(name, named, ()))
    categories = {}
    for name, entry in rules["categories"].items():
        if entry["level"] not in _LEVELS:
            raise ValueError(f"{name}: unknown level {entry['level']!r}")
        alarm = tuple(_parse_pattern(text, concepts, named, name) for text in entry.get("alarm") or ())
        examples, counter_examples = (tuple(entry.get(key) or ()) for key in ("examples", "counter_examples"))
        categories[name] = Category(
            name, entry["title"], entry["level"], entry["source"], alarm, examples, counter_examples
        )
    return Rulebook(
        PhraseMatcher(concepts, literal=frozenset(("@negation",))),
        frozenset(f"${name}" for name in _split_phrases(rules["background"])),
        categories,
    )


def _split_phrases(text: str) -> list[str]:
    """The phrases of a comma-separated list."""
    return [phrase for piece in text.split(",") if (phrase := " ".join(piece.split()))]


def _expand_concept(name: str, named: dict[str, list[str]], within: tuple[str, ...]) -> Iterator[str]:
    """The phrases of a concept, including those of the concepts it contains."""
    if name not in named:
        raise ValueError(f"there is no concept {name} (in {within[-1] if within else 'the rules'})")
    if name in within:
        raise ValueError(f"the concept {name} contains itself")
    for phrase in named[name]:
        if phrase.startswith("$") and " " not in phrase:
            yield from _expand_concept(phrase, named, (*within, name))
        else:
            yield phrase


def _parse_pattern(text: str, concepts: dict[str, list[str]], named: dict[str, list[str]], category: str) -> Pattern:
    """Parses a pattern; its own phrases are added to `concepts`."""
    groups: list[tuple[tuple[str, ...], ...]] = []
    absent: list[str] = []
    for group in text.split(" + "):
        passages = []
        for passage in group.split(" & "):
            parts: list[str] = []
            for part in passage.split(" ~ "):
                concept = part.strip().removeprefix("!").strip()
                if not concept.startswith("$"):
                    concepts.setdefault(concept, [phrase.strip() for phrase in concept.split("/")])
                elif concept not in named:
                    raise ValueError(f"{category}: there is no concept {concept}, in {text!r}")
                (absent if part.strip().startswith("!") else parts).append(concept)
            if parts:
                passages.append(tuple(parts))
        if passages:
            groups.append(tuple(passages))
    needed = frozenset(concept for group in groups for passage in group for concept in passage)
    return Pattern(text, tuple(groups), tuple(absent), needed)
