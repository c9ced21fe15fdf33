"""Reproduces a published table of results on COVID-19 dialogues, beside a constant reply and the nearest neighbour.

    python scripts/covid_dialogue.py --data COVID-Dialogue-Dataset-English.txt --output DIR [--base bases/smollm2]
        [--against healthcaremagic.csv] [--step split|fit|answer|score] [--smoke]

The file is `COVID-Dialogue-Dataset-English.txt` of github.com/UCSD-AI4H/COVID-Dialogue at commit 029e8ab2; its rights
stay with the forums that it was taken from, so everyone fetches it for themselves. Steps: the authors' split into `DIR/
data`; a small model from scratch and, with `--base`, that base tuned, by `lightning-med fit`; answers by the paper's
beam search; scores into `DIR/table.md`. Without `--step` all of them. What is done is not done again: the same command
goes on after an interruption, and a step begins anew where its result is removed (`DIR/scratch`, `DIR/tuned`,
`DIR/answers`). `--smoke` takes three steps of each fit and three test rows, to see that everything runs.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from covid.dialogues import Dialogue, Example, make_examples, read_examples, write_splits
from quickstart_parts.processes import report_errors, run_child

from lightning_med.checkpoints.run_folder import list_versions
from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError, RunError
from lightning_med.utils.files import make_writable_folder, write_text

STEPS = ("split", "fit", "answer", "score")
TITLES = {"scratch": "small GPT-2, from scratch (ours)", "tuned": "SmolLM2-135M, tuned (ours)"}
_CONFIGS = Path(__file__).parent / "covid"
_SMOKE_ROWS = 3


def fit(name: str, folder: Path, base: Path | None, smoke: bool) -> None:
    """Trains a model and exports its best checkpoint to `folder / name`, unless that is there.

    Args:
        name: `scratch` or `tuned`, as its config.
        folder: Of the results.
        base: Folder of the base of `tuned`.
        smoke: Stop after three steps.

    Raises:
        RunError: A command fails.
    """
    export = folder / name
    if export.exists():
        return
    (folder / "answers" / f"{name}.jsonl").unlink(missing_ok=True)
    command = ["fit", "--config", str(_CONFIGS / f"{name}.yaml"), "--data.source", str(folder / "data")]
    command += ["--trainer.default_root_dir", str(folder), "--resume", "auto"]
    if base is not None:
        command += ["--model.base", str(base), "--data.tokenizer", str(base)]
    _run([*command, *(["--trainer.max_steps", "3"] if smoke else [])])
    checkpoints = list_versions(folder / "lightning_logs" / name)[-1] / "checkpoints"
    best = next(checkpoints.glob("best*.ckpt"), checkpoints / "last.ckpt")
    _run(["export", "--checkpoint", str(best), "--output", str(export)])


def _run(words: list[str]) -> None:
    say(f"lightning-med {shlex.join(words)}")
    status = run_child(["-m", "lightning_med", *words])[0]
    if status:
        raise RunError(f"lightning-med {words[0]} ended with {status}.", "Its message is above.")


def count_repeats(splits: dict[str, list[Dialogue]], table: Path) -> str:
    """Returns a line with the dialogues of each split that nearly equal a row of a table.

    Args:
        splits: Of `split_dialogues`.
        table: With the columns `input` and `output`, as HealthCareMagic's.

    Raises:
        InputError: The table cannot be read.
    """
    import pandas as pd

    from lightning_med.data.splits.shingle_index import find_near_duplicates

    try:
        frame = pd.read_csv(table, usecols=["input", "output"], dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"--against {table}: {error}", "Name a CSV with the columns input and output.") from error
    questions, answers = list(frame["input"]), list(frame["output"])
    parts = []
    for name, dialogues in splits.items():
        first = find_near_duplicates([dialogue.turns[0] for dialogue in dialogues], questions)
        replies = [(place, turn) for place, dialogue in enumerate(dialogues) for turn in dialogue.turns[1::2]]
        found = find_near_duplicates([turn for _, turn in replies], answers)
        repeated = {place for place, _ in first} | {replies[reply][0] for reply, _ in found}
        parts.append(f"{name} {len(repeated)} of {len(dialogues)}")
    return f"Dialogues with a first question or a reply that nearly equals one of {table.name}: {', '.join(parts)}."


def make_baselines(training: Sequence[Example], rows: Sequence[Example]) -> dict[str, list[str]]:
    """Returns the answers of the constant reply and of the nearest neighbour, by their names in the table.

    Args:
        training, rows: Of `read_examples`.
    """
    from lightning_med.evaluation.baselines.constant import find_central_answer
    from lightning_med.evaluation.baselines.retrieval import find_nearest

    questions, answers = [row["question"] for row in training], [row["answer"] for row in training]
    nearest = find_nearest([row["question"] for row in rows], questions)
    return {
        "constant: the most central training reply": [answers[find_central_answer(answers)]] * len(rows),
        "nearest: reply to the most similar training history": [answers[place] for place in nearest],
    }


def score(folder: Path, rows: list[Example], against: str) -> str:
    """Returns the table of all models that have answered; writes it to `table.md` and its figures to `figures.json`.

    Args:
        folder: Of the results.
        rows: Of the test set.
        against: The line about near-duplicates, if they were counted.
    """
    from covid.scores import format_table, score_answers, score_likelihood

    found = {}
    for name, title in TITLES.items():
        answers = folder / "answers" / f"{name}.jsonl"
        if answers.is_file():
            with answers.open(encoding="utf-8") as file:
                texts = [json.loads(line)["answer"] for line in file]
            answered = rows[: len(texts)]
            found[title] = score_likelihood(folder / name, answered) | score_answers(texts, answered)
    for title, texts in make_baselines(read_examples(folder / "data", "train"), rows).items():
        found[title] = score_answers(texts, rows)
    figures = {title: {name: vars(value) for name, value in scores.items()} for title, scores in found.items()}
    write_text(folder / "figures.json", json.dumps(figures, indent=2) + "\n")
    table = f"{against}\n\n{format_table(found)}".lstrip()
    write_text(folder / "table.md", table)
    return table


def reproduce(options: argparse.Namespace) -> None:
    """Runs the steps."""
    folder: Path = options.output.resolve()
    make_writable_folder(folder, "--output")
    base = options.base and options.base.resolve()
    names = ["scratch", *(["tuned"] if base else [])]
    if options.smoke:
        folder = folder / "smoke"  # never mixed with real results
    splits = write_splits(options.data, folder / "data")
    replies = {name: len(make_examples(dialogues)) for name, dialogues in splits.items()}
    counts = ", ".join(f"{name} {len(splits[name])} ({count} replies)" for name, count in replies.items())
    against = count_repeats(splits, options.against) if options.against else ""
    say("\n".join(filter(None, [f"Dialogues: {counts}.", against])))
    steps = [options.step] if options.step else STEPS
    rows = read_examples(folder / "data", "test")[: _SMOKE_ROWS if options.smoke else None]
    if "fit" in steps:
        for name in names:
            fit(name, folder, base if name == "tuned" else None, options.smoke)
    if "answer" in steps:
        from covid.beam_answers import write_beam_answers

        with show_progress("Answering") as progress:
            for name in names:
                if not (folder / name).is_dir():
                    raise InputError(f"{folder / name} is not there.", "Run --step fit before.")
                write_beam_answers(folder / name, rows, folder / "answers" / f"{name}.jsonl", progress)
    if "score" in steps:
        say(score(folder, rows, against))


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status."""
    parser = Parser("covid_dialogue", "Reproduce a published table of results on COVID-19 dialogues.")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="COVID-Dialogue-Dataset-English.txt")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets everything that is made")
    parser.add_argument("--base", type=Path, metavar="FOLDER", help="SmolLM2; without it there is no tuned row")
    parser.add_argument("--against", type=Path, metavar="FILE.csv", help="count near-duplicates of this table first")
    parser.add_argument("--step", choices=STEPS, help="this step alone")
    parser.add_argument("--smoke", action="store_true", help="a few steps and rows, to see that everything runs")
    return report_errors(lambda: reproduce(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
