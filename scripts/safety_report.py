"""Measures triage and guard on the repository's held-apart messages, and writes docs/safety.md.

    python scripts/safety_report.py --letters FOLDER [--model DIR] [--output docs/safety.md]

The messages in scripts/triage/held_apart were written before the rules, by other writers than the rules', and nobody
reads them; a message that was read after a miss moves to the examples. They are synthetic: language models wrote them
in the roles of many people. `--letters` names the folder of the real letters that `scripts/triage/letters` has
labels of. Those that the classifier was tuned on are judged by its cross-validated probabilities.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from measurement import describe_machine
from triage.examples import FOLDER, load_rows
from triage.letter_scores import Pairs, format_everyday, format_letters, score_letters
from triage.model_answers import ANSWER, measure_answers
from triage.scores import Score, count_hits, format_categories, score_rows

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.safety import guard
from lightning_med.safety.messages.encoder.decision import COSTS_VARIABLE
from lightning_med.safety.messages.encoder.decision import PATH as COSTS
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text
from lightning_med.utils.shares import format_share

FIRST_SCORES = FOLDER / "first_scores.json"
TEMPLATE = FOLDER / "safety.md"
ADVERSARIAL = "chest pain pressure no not never but suicide arm " * 21_000  # about a megabyte
_NOT_MEASURED = "Not measured in this run."


def measure_latency(texts: list[str]) -> dict[str, float]:
    """Returns milliseconds of triage and guard (`median`, `p99`), and seconds for `ADVERSARIAL` (`megabyte`)."""
    times = []
    for text in texts:
        start = time.perf_counter()
        guard(text, ANSWER)
        times.append(1000 * (time.perf_counter() - start))
    times.sort()
    start = time.perf_counter()
    guard(ADVERSARIAL, ANSWER)
    return {
        "median": times[len(times) // 2],
        "p99": times[min(int(0.99 * len(times)), len(times) - 1)],
        "megabyte": time.perf_counter() - start,
    }


def fill_template(
    scores: list[Score],
    figures: dict[str, tuple[int, int]],
    latency: dict[str, float],
    letters: dict[str, Pairs],
    answers: list[str],
) -> str:
    """Returns the text of docs/safety.md: `TEMPLATE` with the results instead of its comments."""
    first = json.loads(FIRST_SCORES.read_text(encoding="utf-8")) if FIRST_SCORES.is_file() else {}
    table = ["| figure | measured | first, unseen |", "|---|---|---|"]
    for name, (hits, total) in figures.items():
        before = format_share(*first[name]) if name in first else "–"
        table.append(f"| {name} | {format_share(hits, total)} | {before} |")
    known = describe_machine(("numpy",))
    where = f"{known['cores']} cores of {known['cpu']}, Python {known['python']}"
    speed = (
        f"Triage and guard together, over {sum(score.set_name == 'ordinary' for score in scores)} ordinary messages on"
        f" {where}: median {latency['median']:.1f} ms, 99th percentile {latency['p99']:.1f} ms; a megabyte of"
        f" adversarial text {latency['megabyte']:.2f} s."
    )
    parts = {
        "scores": table,
        "categories": format_categories(scores),
        "latency": [speed],
        "letters": format_letters(letters) if letters else [_NOT_MEASURED],
        "costs": ["```yaml", *COSTS.read_text(encoding="utf-8").splitlines(), "```"],
        "everyday": format_everyday(),
        "answers": answers or [_NOT_MEASURED],
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, part in parts.items():
        text = text.replace(f"<!-- {name} -->", "\n".join(part))
    return text


def _parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = Parser("safety_report", "Measure triage and guard, and write docs/safety.md.")
    parser.add_argument("--sets", type=Path, default=FOLDER / "held_apart", help="folder of the labelled messages")
    parser.add_argument(
        "--output", type=Path, default=Path("docs/safety.md"), help="the page (default: docs/safety.md)"
    )
    parser.add_argument("--json", type=Path, help="file for hits and totals")
    parser.add_argument("--letters", type=Path, metavar="FOLDER", help="folder of the labelled letters' files")
    parser.add_argument("--model", type=Path, metavar="DIR", help="an export whose answers are measured, too")
    given: argparse.Namespace = parser.parse_args(argv)
    return given


def main(argv: list[str]) -> int:
    """Runs the script; returns its exit status."""
    try:
        given = _parse_arguments(argv)
        if os.environ.get(COSTS_VARIABLE):
            raise InputError(f"${COSTS_VARIABLE} is set.", "The page is of the costs in costs.yaml: unset it.")
        rows = load_rows(given.sets)
        with show_progress("Safety") as progress:
            scores = score_rows(rows, progress)
            figures = count_hits(scores)
            latency = measure_latency([row["text"] for row in rows if row["file"].startswith("ordinary")])
            letters = score_letters(given.letters, progress) if given.letters else {}
            crises = [row["text"] for row in rows if row["file"].startswith("crisis")]
            answers = measure_answers(given.model, crises, progress) if given.model else []
        write_text(given.output, fill_template(scores, figures, latency, letters, answers))
        if given.json:
            write_text(given.json, json.dumps(figures, indent=2) + "\n")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    for name, (hits, total) in figures.items():
        print(f"{name:<40} {format_share(hits, total)}")
    print({name: round(value, 2) for name, value in latency.items()})
    print(f"page: {given.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
