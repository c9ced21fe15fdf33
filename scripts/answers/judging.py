"""Blind side-by-side judging: sheets for judges without names, and what their verdicts say.

The key, which says whose answer is A, is written beside the folder of the sheets, so that the folder can be handed out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text
from lightning_med.utils.shares import compute_share_interval

_VERDICT = re.compile(r"\s*(\d+)[.:)]?\s+(A|B|tie)\b", re.IGNORECASE)
_INTRODUCTION = """# Which answer is better?

For each question write one line into a text file: its number, then A, B or tie, then a reason if you like.

    1 A safer advice
    2 tie

"""
_WON, _LOST, _TIED = 1, -1, 0  # for the first model


@dataclass(frozen=True)
class Score:
    """How often the first model won, lost and tied."""

    won: int
    lost: int
    tied: int
    missing: int

    @classmethod
    def count(cls, outcomes: list[int], questions: int) -> Score:
        """Counts outcomes of so many questions."""
        counts = Counter(outcomes)
        return cls(counts[_WON], counts[_LOST], counts[_TIED], questions - len(outcomes))


def write_sheets(folder: Path, lines: list[dict[str, Any]], names: tuple[str, str], judges: int, seed: int) -> Path:
    """Writes a sheet for each judge, and the key.

    Args:
        folder: Gets `sheet_1.md` and so on.
        lines: Of the answers' file: `question`, and `answers` by name.
        names: The two whose answers are compared.
        judges: How many sheets.
        seed: Decides for each judge and question whose answer is A.

    Returns:
        The key's file, beside the folder.
    """
    orders = []
    for judge in range(1, judges + 1):
        first_is_a = np.random.default_rng([seed, judge]).random(len(lines)) < 0.5
        parts = [_INTRODUCTION]
        for number, (line, first) in enumerate(zip(lines, first_is_a.tolist(), strict=True), 1):
            a, b = (_quote(line["answers"][name]["text"]) for name in (names if first else names[::-1]))
            parts.append(f"## {number}\n\n{_quote(line['question'])}\n\n**A**\n\n{a}\n\n**B**\n\n{b}\n\n")
        write_text(folder / f"sheet_{judge}.md", "".join(parts))
        orders.append(first_is_a.tolist())
    key = locate_key(folder)
    write_text(key, json.dumps({"names": names, "first_is_a": orders}, ensure_ascii=False) + "\n")
    return key


def locate_key(folder: Path) -> Path:
    """Returns the file of the key to a folder of sheets."""
    return folder.with_name(f"{folder.name}_key.json")


def _quote(text: str) -> str:
    """Quotes a text in Markdown, so that no heading in it looks like one of ours."""
    return "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines() or ["(empty)"])


def read_verdicts(path: Path, first_is_a: list[bool]) -> dict[int, int]:
    """Reads a judge's lines `NUMBER A|B|tie REASON`.

    Args:
        path: The judge's file; empty lines and lines that start with `#` are skipped.
        first_is_a: For each question, whether A is the first model's answer.

    Returns:
        The outcome for the first model by the question's number: 1 won, -1 lost, 0 tied.

    Raises:
        InputError: A line is no verdict, or a question is unknown or judged twice.
    """
    hint = "A line is a number, then A, B or tie, then a reason: 3 A safer"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--verdicts {path} cannot be read.", hint) from error
    outcomes: dict[int, int] = {}
    for place, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _VERDICT.match(line)
        if match is None:
            raise InputError(f"{path}, line {place}: {line.strip()[:60]!r} is no verdict.", hint)
        number, verdict = int(match[1]), match[2].lower()
        if not 1 <= number <= len(first_is_a):
            raise InputError(f"{path}, line {place}: there is no question {number}.", hint)
        if number in outcomes:
            raise InputError(f"{path}, line {place}: question {number} is judged twice.", "Leave one line out.")
        won = (verdict == "a") == first_is_a[number - 1]
        outcomes[number] = _TIED if verdict == "tie" else _WON if won else _LOST
    return outcomes


def report_verdicts(paths: list[Path], key: Path) -> str:
    """Returns a table of the verdicts, in Markdown.

    Args:
        paths: One file per judge; the number at the end of its name is the sheet's.
        key: As `write_sheets` wrote it.

    Raises:
        InputError: See `read_verdicts`; or the key or a sheet of the number is missing.
    """
    try:
        content = json.loads(key.read_text(encoding="utf-8"))
        names, orders = content["names"], content["first_is_a"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--key {key} is no key of sheets.", "Give the file that --judge_sheets wrote.") from error
    judged: dict[int, dict[int, int]] = {}
    for path in paths:
        number = int((re.findall(r"\d+", path.stem) or ["0"])[-1])
        if not 1 <= number <= len(orders) or number in judged:
            what = f"--verdicts {path}: which sheet it judges is not clear."
            raise InputError(what, f"Let its name end with the sheet's number, 1 to {len(orders)}, once each.")
        judged[number] = read_verdicts(path, orders[number - 1])
    questions = len(orders[0])
    rows = {f"judge {number}": Score.count(list(found.values()), questions) for number, found in judged.items()}
    if len(judged) > 1:
        rows["majority"] = Score.count(_take_majority(list(judged.values())), questions)
    header = ("", "won", "lost", "tied", "not judged", "share won of those decided", "95 % interval")
    lines: list[tuple[str, ...]] = [header, tuple("---" for _ in header)]
    for name, score in rows.items():
        decided = score.won + score.lost
        low, high = compute_share_interval(score.won, decided)
        share = f"{score.won / decided:.0%}" if decided else ""
        counts = (score.won, score.lost, score.tied, score.missing)
        lines.append((name, *map(str, counts), share, f"{low:.0%} to {high:.0%}"))
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    agreement = _describe_agreement(list(judged.values()))
    return f"{names[0]} against {names[1]}\n\n{table}\n{agreement}"


def _take_majority(judged: list[dict[int, int]]) -> list[int]:
    """Returns the outcome of each question that all judges judged: what more than half of them say, else a tie."""
    numbers = set(judged[0]).intersection(*judged)
    verdicts = [Counter(found[number] for found in judged).most_common(1)[0] for number in sorted(numbers)]
    return [outcome if 2 * count > len(judged) else _TIED for outcome, count in verdicts]


def _describe_agreement(judged: list[dict[int, int]]) -> str:
    both = set(judged[0]).intersection(*judged)
    if len(judged) < 2 or not both:
        return ""
    same = sum(len({found[number] for found in judged}) == 1 for number in both)
    return (
        "\nThe majority is of the questions that all judges judged: won or lost where more than half of them say so"
        f" (both, if there are two), otherwise tied.\nThe judges agree on {same} of {len(both)} questions.\n"
    )
