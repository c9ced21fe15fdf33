"""The verdicts on tables of real questions, and a sample of them for a person to judge."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from lightning_med.safety import Verdict, triage
from lightning_med.safety.levels import CRISIS, EMERGENCY, HARMFUL, ORDINARY, URGENT
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text

_SAMPLE = 50  # of the questions that alarm, and of the others


def measure_real_questions(files: list[str], look: Path | None, progress: Callable[[str, int, int], None]) -> list[str]:
    """Returns lines of Markdown on the levels and categories of each file's different questions.

    Args:
        files: CSV files with a column `input`.
        look: Folder for `alarms.jsonl` and `silences.jsonl`, samples of questions with their verdicts.
        progress: Of `show_progress`.

    Raises:
        InputError: A file has no such column.
    """
    lines: list[str] = []
    verdicts: list[tuple[str, Verdict]] = []
    for name in files:
        part = []
        questions = _read_questions(name)
        for number, question in enumerate(questions):
            if number % 100 == 0:
                progress(Path(name).name, number, len(questions))
            part.append((question, triage(question)))
        lines += _format_file(Path(name).name, [verdict for _, verdict in part])
        verdicts += part
    if look:
        _write_samples(look, verdicts)
    return lines


def _read_questions(name: str) -> list[str]:
    import pandas as pd

    try:
        column = pd.read_csv(name, usecols=["input"])["input"]
    except ValueError as error:
        raise InputError(f"--data {name}: {error}", "It needs a column input.") from error
    return column.dropna().drop_duplicates().astype(str).tolist()


def _format_file(name: str, verdicts: list[Verdict]) -> list[str]:
    levels = Counter(verdict.level for verdict in verdicts)
    categories = Counter(
        verdict.category for verdict in verdicts if verdict.level in (EMERGENCY, CRISIS, HARMFUL)
    ).most_common(12)
    shares = ", ".join(
        f"{level} {levels[level] / len(verdicts):.1%}" for level in (EMERGENCY, CRISIS, HARMFUL, URGENT, ORDINARY)
    )
    return [
        f"- `{name}`, {len(verdicts):,} different questions: {shares}. Alarms and refusals by category, the",
        f"  commonest first: {', '.join(f'{category} {count}' for category, count in categories)}.",
    ]


def _write_samples(folder: Path, verdicts: list[tuple[str, Verdict]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for title, alarming in (("alarms", True), ("silences", False)):
        part = [pair for pair in verdicts if (pair[1].level in (EMERGENCY, CRISIS)) == alarming]
        lines = [
            json.dumps({"text": text, "level": v.level, "categories": v.categories, "evidence": v.evidence}) + "\n"
            for text, v in random.Random(0).sample(part, min(_SAMPLE, len(part)))
        ]
        write_text(folder / f"{title}.jsonl", "".join(lines))
