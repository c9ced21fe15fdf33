"""`lightning-med respond`: an answer from an exported model, or one for each row of a file."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_med.cli.answering.model_options import (
    add_decoding_options,
    add_model_option,
    add_safety_options,
    check_decoding,
    find_model,
    read_decoding,
)
from lightning_med.cli.output import json_output
from lightning_med.cli.parsing.arguments import Parser
from lightning_med.cli.verbs.triage import check_safety_settings
from lightning_med.inference.part_file import check_unwritten
from lightning_med.safety.messages.advice import resolve_file_region
from lightning_med.serving.responder import Responder, answer_question
from lightning_med.utils.errors import InputError, RunError
from lightning_med.utils.files import make_writable_folder
from lightning_med.utils.output import format_json

if TYPE_CHECKING:
    from lightning_med.serving.question_file import QuestionFile

_DESCRIPTION = """Answer a question with an exported model, or each row of a file of questions.

With --output, the answers so far lie in the hidden file .FILE.part beside it. After an interruption the same command
goes on with them, if model, input and settings are the same, and the file is what it would have been without it."""


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    given = make_parser().parse_args(argv[1:])
    is_file = given.input is not None
    (_check_file if is_file else _check_one)(given)
    check_safety_settings(given.region)
    check_decoding(given)
    (_answer_file if is_file else _answer_one)(given)
    return 0


def make_parser() -> Parser:
    """Returns the parser of `respond`."""
    parser = Parser("lightning-med respond", _DESCRIPTION)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_model_option(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the answer with its verdict and checks as JSON; with --output, where the answers are and how many",
    )
    add_safety_options(parser, "that of the locale for a QUESTION, and several countries' numbers for --input")
    parser.add_argument(
        "--input",
        type=Path,
        metavar="FILE",
        help="table of questions (CSV, TSV, JSON, JSONL, Parquet, Excel, ODS; .gz and .zip too), or a text with one on"
        " each line; each row gets a line of JSON, in the order of the file, its level `blank` where there is no"
        " question",
    )
    parser.add_argument("--question_column", metavar="NAME", help="column of the table with the questions (input)")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="JSON Lines file for the answers to --input; - and the default are standard output, as they come",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a complete --output, and discard the answers so far of another model, input or setting",
    )
    parser.add_argument(
        "question", nargs="?", metavar="QUESTION", help="the patient's words; - reads them from standard input"
    )
    add_decoding_options(parser)
    return parser


def _check_one(given: argparse.Namespace) -> None:
    for name in ("question_column", "output", "overwrite"):
        if getattr(given, name):
            raise InputError(
                f"respond: --{name} needs --input FILE.",
                "lightning-med respond --model DIR --input questions.csv --output answers.jsonl",
            )
    if given.question is None:
        raise InputError(
            "respond needs QUESTION.",
            "Or answer a file: --input FILE; lightning-med respond --help shows the options.",
        )


def _check_file(given: argparse.Namespace) -> None:
    if given.question is not None:
        raise InputError(
            "respond takes a QUESTION or --input FILE, not both.", "Leave one out; quote a question of several words."
        )
    given.output = None if str(given.output) in ("None", "-") else given.output
    if given.output is None and given.overwrite:
        raise InputError("respond: --overwrite needs --output FILE.", "Standard output is never replaced.")
    if given.output is None:
        return
    if given.output.exists() and given.input.exists() and given.output.samefile(given.input):
        raise InputError(f"--output {given.output} is the file of the questions.", "Name another file.")
    check_unwritten(given.output, given.overwrite)


def _load(given: argparse.Namespace, region: str | None) -> Responder:
    responder = Responder.from_pretrained(find_model(given), region, given.safety == "on")
    responder.decoding = read_decoding(given, responder.decoding)
    return responder


def _answer_one(given: argparse.Namespace) -> None:
    content = sys.stdin.buffer.read() if given.question == "-" else os.fsencode(given.question)
    question, safety = content.decode("utf-8", "replace"), given.safety == "on"
    answer = answer_question(question, lambda: _load(given, given.region), given.region, safety)
    print(format_json(asdict(answer), sys.stdout) if given.json else answer)


def _answer_file(given: argparse.Namespace) -> None:
    from lightning_med.serving.answer_file import stream_answers, write_answers
    from lightning_med.serving.question_file import QuestionFile

    questions = QuestionFile(given.input, given.question_column)
    responder = _load(given, resolve_file_region(given.region))
    if given.output is None:
        stream_answers(responder, questions, sys.stdout)
        _say_blank(questions)
        return
    make_writable_folder(given.output.parent, "--output FILE")
    with json_output.collect_result(given.json) as result:
        try:
            write_answers(responder, questions, given.output, given.overwrite)
        except OSError as error:
            raise RunError(
                f"{error.filename or given.output} cannot be written: {error.strerror}.",
                "What was written before is kept: fix it, and the same command goes on.",
            ) from error
        print(f"answers: {given.output} ({questions.count:,} rows)")
        _say_blank(questions)
        result |= {"answers": given.output, "rows": questions.count, "blank": questions.blank}


def _say_blank(questions: QuestionFile) -> None:
    if questions.blank:
        print(f"{questions.blank:,} of {questions.count:,} rows have no question", file=sys.stderr)
