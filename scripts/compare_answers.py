"""Compares the answers of models, or of one model's decoding settings, on the same questions.

    python scripts/compare_answers.py --model bases/smollm2 --model RUN/export --questions RUN/predictions.jsonl \\
        --count 50 --output answers.jsonl [--decoding '{temperature: 0.7, min_p: 0.1}' …]
    python scripts/compare_answers.py --answers answers.jsonl --judge_sheets sheets --judges 2 [--pair NAME NAME]
    python scripts/compare_answers.py --verdicts verdicts_1.txt verdicts_2.txt --key sheets_key.json

A model is an export, which answers with its own prompt and settings, or the folder of an untuned base, which answers
with its own chat template and our system prompt. Each is loaded once and answers with each `--decoding`. Answers are
as the models wrote them: nothing is triaged or guarded. The first form writes them as JSON lines and a table of their
measures beside (`answers.md`); the human references are measured too. The second writes blind sheets of two of the
answers, and the key beside their folder. The third counts the judges' verdicts.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from answers.judging import locate_key, report_verdicts, write_sheets
from answers.measures import format_measures, measure_texts
from answers.models import Model, Settings, answer_questions, change_decoding, load_model, name_folders
from answers.questions import draw_questions
from transformers.utils import logging

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.inference.decoding import Decoding
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError, check_range
from lightning_med.utils.files import make_writable_folder, write_text

_DECODING_OPTIONS = {  # each overrides the models' own
    "max_new_tokens": int,
    "temperature": float,
    "top_p": float,
    "min_p": float,
    "repetition_penalty": float,
    "no_repeat_ngram_size": int,
}
Line = dict[str, Any]


def parse_options(argv: list[str]) -> argparse.Namespace:
    """Parses and checks the options.

    Raises:
        InputError: An option is wrong, or those of different forms are mixed.
    """
    parser = Parser("compare_answers", "Compare answers of models or of decoding settings on the same questions.")
    parser.add_argument("--model", action="append", default=[], metavar="[NAME=]FOLDER", help="export or base; repeat")
    parser.add_argument("--questions", type=Path, metavar="FILE", help="table, or a run's predictions.jsonl")
    parser.add_argument("--question_column", default="input", help="of a table (default: input)")
    parser.add_argument("--answer_column", default="output", help="of a table (default: output)")
    parser.add_argument("--count", type=int, default=50, help="questions that are drawn, 0 for all (default: 50)")
    parser.add_argument("--seed", type=int, default=42, help="of the draw, of sampling and of the sheets (default: 42)")
    parser.add_argument("--batch_size", type=int, default=10, help="questions answered together (default: 10)")
    parser.add_argument("--output", type=Path, metavar="FILE.jsonl", help="gets the answers")
    parser.add_argument("--decoding", action="append", metavar="YAML", help="settings that every model answers with")
    for name, kind in _DECODING_OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, help="instead of the models' own")
    parser.add_argument("--answers", type=Path, metavar="FILE.jsonl", help="answers of before, instead of --model")
    parser.add_argument("--judge_sheets", type=Path, metavar="DIR", help="gets a sheet for each judge")
    parser.add_argument("--judges", type=int, default=2, help="how many (default: 2)")
    parser.add_argument("--pair", nargs=2, metavar="NAME", help="whose answers are judged, if there are more than two")
    parser.add_argument("--verdicts", nargs="+", type=Path, metavar="FILE", help="one for each judge")
    parser.add_argument("--key", type=Path, metavar="FILE", help="as --judge_sheets wrote it")
    options = parser.parse_args(argv)
    for name, least in (("count", 0), ("seed", 0), ("batch_size", 1), ("judges", 1)):
        check_range(f"--{name}", getattr(options, name), least)
    forms = [bool(options.model), options.answers is not None, options.verdicts is not None]
    if sum(forms) != 1:
        raise InputError("What to compare is not clear.", "Give one of --model, --answers and --verdicts.")
    if options.model and not (options.questions and options.output):
        raise InputError("--model needs --questions and --output.", "Say what to answer and where to write it.")
    if options.output and options.output.suffix != ".jsonl":
        raise InputError(f"--output {options.output} does not end with .jsonl.", "The table is written beside, as .md.")
    if options.answers and not options.judge_sheets:
        raise InputError("--answers needs --judge_sheets.", "Name the folder of the sheets.")
    if options.verdicts and not options.key:
        raise InputError("--verdicts needs --key.", "Name the file that --judge_sheets wrote.")
    if options.pair and not options.judge_sheets:
        raise InputError("--pair needs --judge_sheets.", "Name the folder of the sheets.")
    check_results(options)
    return options


def check_results(options: argparse.Namespace) -> None:
    """Refuses to write over earlier results, or over anything else.

    Raises:
        InputError: A file of that name is there.
    """
    named: dict[str, list[Path]] = {}
    if options.model:
        named["--output"] = [options.output, options.output.with_suffix(".md")]
    if options.judge_sheets:  # sheets of before have another key
        named["--judge_sheets"] = [*options.judge_sheets.glob("sheet_*.md"), locate_key(options.judge_sheets)]
    for option, paths in named.items():
        for path in paths:
            if os.path.lexists(path):
                raise InputError(f"{option}: {path} exists.", f"Move it away, or name another {option}.")


def list_settings(options: argparse.Namespace) -> list[Settings]:
    """Returns the decoding settings that each model answers with, checked.

    Raises:
        InputError: One is unknown or wrong.
    """
    common = {name: getattr(options, name) for name in _DECODING_OPTIONS if getattr(options, name) is not None}
    common["sampling_seed"] = options.seed
    settings = []
    for text in options.decoding or ["{}"]:
        try:
            own = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"--decoding {text} is no YAML.", "For instance '{temperature: 0.7}'") from error
        if not isinstance(own, dict):
            raise InputError(f"--decoding {text} is no mapping.", "For instance '{temperature: 0.7}'")
        change_decoding(Decoding(), common | own)
        settings.append(common | own)
    return settings


def load_models(texts: list[str]) -> list[Model]:
    """Loads the models that `--model` names."""
    return [load_model(name, folder) for name, folder in name_folders(texts).items()]


def plan_answers(models: list[Model], settings: list[Settings]) -> dict[str, tuple[Model, Decoding]]:
    """Returns which model answers with which settings, by the name of these answers.

    Raises:
        InputError: Two would have the same name.
    """
    plan: dict[str, tuple[Model, Decoding]] = {}
    for model in models:
        for own in settings:
            decoding = change_decoding(model.decoding, own)
            name = describe_answers(model, decoding, len(settings) > 1)
            if name in plan:
                raise InputError(f"Two answers would be the same: {name}.", "Leave one --decoding out.")
            plan[name] = (model, decoding)
    return plan


def compare(options: argparse.Namespace) -> list[Line]:
    """Answers the questions with each model and settings, writes answers and table, and returns the answers' lines."""
    settings = list_settings(options)
    columns = (options.question_column, options.answer_column)
    questions = draw_questions(options.questions, options.count, options.seed, columns)
    make_writable_folder(options.output.parent, "--output FILE")
    plan = plan_answers(load_models(options.model), settings)
    if options.judge_sheets:
        choose_pair(options.pair, list(plan))  # refused before the work
    lines: list[Line] = [{"number": n, **vars(question), "answers": {}} for n, question in enumerate(questions, 1)]
    texts = [question.question for question in questions]
    measured = {"references": measure_texts([question.reference for question in questions])}
    with show_progress("Answering") as progress:
        for name, (model, decoding) in plan.items():
            answers = answer_questions(model, decoding, texts, options.batch_size, partial(progress, name))
            measured[name] = measure_texts([a.text for a in answers], [a.ended for a in answers])
            for line, answer in zip(lines, answers, strict=True):
                line["answers"][name] = {**vars(answer), "decoding": vars(decoding)}
    table = format_measures(measured)
    write_text(options.output, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    write_text(options.output.with_suffix(".md"), table)
    print(table, end="")
    say(f"{len(lines)} questions. Answers: {options.output}, table: {options.output.with_suffix('.md')}")
    return lines


def describe_answers(model: Model, decoding: Decoding, several: bool) -> str:
    """Returns the name of a model's answers; of several settings, those that differ from the model's own are named."""
    if not several:
        return model.name
    own = {name: value for name, value in vars(decoding).items() if value != getattr(model.decoding, name)}
    own.pop("sampling_seed", None)
    return f"{model.name}, {', '.join(f'{name} {value}' for name, value in own.items()) or 'its own settings'}"


def read_answers(path: Path) -> list[Line]:
    """Reads the answers that `compare` wrote.

    Raises:
        InputError: The file is another.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if lines and all({"question", "answers"} <= set(line) for line in lines):
            return lines
    except (OSError, ValueError, TypeError):
        pass
    raise InputError(f"--answers {path} is no file of answers.", "Give one that --output wrote.")


def choose_pair(pair: list[str] | None, names: list[str]) -> tuple[str, str]:
    """Returns the names of the two answers to judge.

    Raises:
        InputError: Which two is not clear.
    """
    chosen = pair or names
    if len(chosen) != 2 or len(set(chosen) & set(names)) != 2:
        raise InputError("Which two answers to judge is not clear.", f"Give --pair with two of: {'; '.join(names)}")
    return chosen[0], chosen[1]


def make_sheets(options: argparse.Namespace, lines: list[Line]) -> None:
    """Writes the sheets of two models' answers."""
    pair = choose_pair(options.pair, list(lines[0]["answers"]))
    make_writable_folder(options.judge_sheets, "--judge_sheets DIR")
    key = write_sheets(options.judge_sheets, lines, pair, options.judges, options.seed)
    say(f"{options.judges} sheets of {len(lines)} questions in {options.judge_sheets}. Key, not for the judges: {key}")


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 2 for wrong input."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        options = parse_options(argv)
        if options.verdicts:
            print(report_verdicts(options.verdicts, options.key), end="")
            return 0
        lines = compare(options) if options.model else read_answers(options.answers)
        if options.judge_sheets:
            make_sheets(options, lines)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
