"""Compares the original notebook's recipe with ours, at equal time and at equal tokens.

    python scripts/compare_recipes.py train --data FILE.csv --output DIR [--model smollm2 --base bases/smollm2]
    python scripts/compare_recipes.py evaluate --output DIR
    python scripts/compare_recipes.py report --output DIR --picture FILE.png

`train` makes three exports for each model and seed: `notebook` (its budget is time), `ours` (the same time) and
`ours_tokens` (the useful tokens that the notebook's recipe saw). What is finished is not repeated. `evaluate` runs
`lightning-med evaluate` on them, `report` collects its figures into a table and a picture. Give each training two
threads: `OMP_NUM_THREADS=2`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from quickstart_parts.processes import report_errors, run_child
from recipes.plans import PLANS, RECIPES, RUN, Task

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError, RunError, check_range


def list_tasks(options: argparse.Namespace) -> list[Task]:
    """Returns a task for each model and seed that the options name.

    Raises:
        InputError: A file or a folder is missing, or a budget is too small.
    """
    tasks = []
    if not options.data.is_file():
        raise InputError(f"--data {options.data} is no file.", "Name a CSV with columns input and output.")
    for name in options.model:
        plan = PLANS[name]
        if plan.needs_base and (options.base is None or not (options.base / "config.json").is_file()):
            raise InputError(f"--model {name} needs --base DIR.", "lightning-med fetch smollm2 makes it.")
        seconds = plan.seconds if options.seconds is None else options.seconds
        check_range("--seconds", seconds, 1)
        base = options.base.resolve() if options.base else None
        for seed in options.seed or plan.seeds:
            tasks.append(Task(options.output.resolve(), name, seed, options.data.resolve(), base, seconds))
    return tasks


def train_all(options: argparse.Namespace, argv: list[str]) -> None:
    """Trains what is not finished, each run in a process of its own.

    Raises:
        RunError: A run failed.
    """
    # A thread that waits for another one must sleep: on a busy machine, waiting would be most of the processor time.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for task in list_tasks(options):
        for recipe in RECIPES:
            title = f"{task.name}, seed {task.seed}, {recipe}"
            if (task.get_export(recipe) / RUN).is_file():
                say(f"{title}: finished before.")
                continue
            say(f"{title}: begins.")
            own = ["--model", task.name, "--seed", str(task.seed), "--recipe", recipe]
            status, _ = run_child([__file__, *argv, *own])
            if status:
                raise RunError(f"{title} failed.", "Its messages are above; the same command goes on from there.")


def train_one(options: argparse.Namespace) -> None:
    """Trains one run in this process."""
    from recipes.training import train

    (task,) = list_tasks(options)
    train(task, options.recipe)


def _parse_arguments(argv: list[str]) -> argparse.Namespace:
    verb, verbs = (argv or [""])[0], ("train", "evaluate", "report")
    if verb not in verbs:
        raise InputError(f"compare_recipes: {verb!r} is no verb.", f"There are {', '.join(verbs)}.")
    parser = Parser(f"compare_recipes {verb}", "Compare the original notebook's recipe with ours.")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of all runs")
    if verb == "train":
        parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="the table of consultations")
        parser.add_argument("--model", nargs="+", choices=PLANS, default=["small"], help="default: small")
        parser.add_argument("--base", type=Path, metavar="DIR", help="folder of SmolLM2")
        parser.add_argument("--seed", type=int, nargs="+", help="default: 42 43 44; of smollm2: 42")
        parser.add_argument(
            "--seconds", type=float, metavar="T", help="budget of a run; default: 100; of smollm2: 1200"
        )
        parser.add_argument("--recipe", choices=RECIPES, help=argparse.SUPPRESS)
    elif verb == "evaluate":
        parser.add_argument("--limit", type=int, metavar="N", help="rows of the test split; default: all")
        for name in ("encoder", "human"):
            parser.add_argument(f"--{name}", type=Path, help="as that of lightning-med evaluate")
        parser.add_argument("--base", type=Path, metavar="DIR", help="folder of SmolLM2, to measure it untuned too")
    else:
        parser.add_argument("--picture", type=Path, metavar="FILE", help="file for a chart, for instance a PNG")
    options = parser.parse_args(argv[1:])
    options.verb = verb
    return options


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 2 for wrong input, 1 for a run that failed."""
    return report_errors(lambda: _run(argv))


def _run(argv: list[str]) -> None:
    options = _parse_arguments(argv)
    if options.verb == "train" and options.recipe:
        train_one(options)
    elif options.verb == "train":
        train_all(options, argv)
    elif options.verb == "evaluate":
        from recipes.evaluation import evaluate_all

        more = {name: getattr(options, name) for name in ("limit", "encoder", "human", "base")}
        evaluate_all(options.output.resolve(), more)
    else:
        from recipes.evaluation import report

        report(options.output, options.picture)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
