"""Detectors of what an answer does, by the patterns of `detectors.yaml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lightning_med.safety.answers.unsafe_sentences import split_sentences
from lightning_med.safety.yaml_files import read_yaml

PATH = Path(__file__).with_name("detectors.yaml")
MANNER = ("greets", "shows_empathy", "asks_back", "explains", "advises_care", "refuses")
ALARMS = "alarms"
NAMES = (*MANNER, ALARMS)
_WORD = re.compile(r"<(\w+)>")
_QUOTES = str.maketrans("’‘‛“”„", "'''\"\"\"")
_LOST_APOSTROPHE = re.compile(r"\b(can|won|don|didn|doesn|isn|aren|wasn|couldn|wouldn|shouldn|haven|hasn)\s?t\b", re.I)


@dataclass(frozen=True)
class Detector:
    """Says whether a text does one thing.

    Attributes:
        counts, counts_not: What counts, and what does not; for readers.
        patterns: A sentence in which one of them matches counts.
        cut: What is taken out of a sentence first.
        first: So many sentences at the beginning are read; `None`: all.
        includes: Names of detectors whose finds count, too.
    """

    counts: str
    counts_not: str
    patterns: tuple[re.Pattern[str], ...]
    cut: tuple[re.Pattern[str], ...]
    first: int | None
    includes: tuple[str, ...]

    def matches(self, sentences: list[str]) -> bool:
        """Returns whether one of the sentences counts; `includes` is left out."""
        for sentence in sentences[: self.first]:
            for pattern in self.cut:
                sentence = pattern.sub(" ", sentence)
            if any(pattern.search(sentence) for pattern in self.patterns):
                return True
        return False


def detect(answer: str) -> frozenset[str]:
    """Returns the names of the detectors that say yes to an answer, of `NAMES`."""
    detectors = load_detectors()
    sentences = split_sentences(_normalize(answer))
    found = {name for name, detector in detectors.items() if detector.matches(sentences)}
    return frozenset(name for name, detector in detectors.items() if found & {name, *detector.includes})


@cache
def load_detectors() -> dict[str, Detector]:
    """Returns the detectors by name, compiled."""
    content = read_yaml(PATH)
    words = content.pop("words")

    def compile_all(patterns: list[str]) -> tuple[re.Pattern[str], ...]:
        written = [_WORD.sub(lambda word: words[word[1]], pattern) for pattern in patterns]
        return tuple(re.compile(pattern, re.IGNORECASE) for pattern in written)

    return {
        name: Detector(
            counts=content[name]["counts"],
            counts_not=content[name]["counts_not"],
            patterns=compile_all(content[name]["patterns"]),
            cut=compile_all(content[name].get("cut", [])),
            first=content[name].get("first"),
            includes=tuple(content[name].get("includes", ())),
        )
        for name in NAMES
    }


def _normalize(answer: str) -> str:
    """The text with plain quotation marks, single blanks, and apostrophes where "don t" lost one."""
    lines = (" ".join(line.split()) for line in answer.translate(_QUOTES).splitlines())
    return _LOST_APOSTROPHE.sub(r"\1't", "\n".join(line for line in lines if line))
