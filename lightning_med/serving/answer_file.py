"""Answers to a file of questions: written as they come, in the order of the file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from lightning_med.inference.answer_identity import identify_answers
from lightning_med.inference.part_file import PartFile
from lightning_med.safety.messages.advice import resolve_region
from lightning_med.serving.answer import Answer
from lightning_med.serving.question_file import QuestionFile
from lightning_med.serving.responder import CHUNK, Responder
from lightning_med.utils.console import show_progress
from lightning_med.utils.output import format_json

SECONDS = 30.0  # between two lines of progress where there is no terminal


def stream_answers(responder: Responder, questions: QuestionFile, target: TextIO) -> None:
    """Writes a line for each row of a file, as soon as those before it are answered.

    Args:
        responder: Answers.
        questions: The file.
        target: For instance standard output.
    """
    waiting: dict[int, dict[str, Any]] = {}
    order = iter(range(questions.count))  # every row is answered
    row = next(order, None)
    for answers in _answer_batches(responder, questions):
        waiting |= answers
        while row is not None and row in waiting:
            target.write(format_json(waiting.pop(row), target) + "\n")
            row = next(order, None)
        target.flush()


def write_answers(
    responder: Responder,
    questions: QuestionFile,
    output: Path,
    overwrite: bool = False,
    say: Callable[[str], object] = print,
) -> None:
    """Writes a line for each row of a file; goes on with the rows of an interrupted call for the same answers.

    Args:
        responder: Answers.
        questions: The file.
        output: Appears when all rows are answered; until then they lie in a hidden file beside it.
        overwrite: Replace it if it is there, and discard the rows so far of another model, input or setting.
        say: Prints a line.

    Raises:
        InputError: The rows so far are of another model, input or setting.
    """
    identity = {
        **identify_answers(responder.network, responder.encoder, responder.decoding),
        **questions.identify(),
        "region": resolve_region(responder.region),
        "safety": "on" if responder.safety else "off",
    }
    part = PartFile(output, identity, overwrite)
    try:
        if part.written:
            say(f"{len(part.written):,} of {questions.count:,} rows are answered already.")
        for answers in _answer_batches(responder, questions, frozenset(part.written)):
            part.append(answers)
        part.complete(questions.count)
    except BaseException:
        if part.written:
            say(f"{len(part.written):,} of {questions.count:,} rows are in {part.path}; the same command goes on.")
        raise
    finally:
        part.close()


def _answer_batches(
    responder: Responder, questions: QuestionFile, done: Collection[int] = ()
) -> Iterator[dict[int, dict[str, Any]]]:
    """Yields lines by row, batch by batch, and shows progress. Which rows form a batch does not depend on `done`."""
    start = said = time.monotonic()
    answered, rows = 0, iter(questions)
    with show_progress("respond") as progress:
        while chunk := list(islice(rows, CHUNK)):
            places = {place for place, (row, _) in enumerate(chunk) if row in done}
            if len(places) == len(chunk):
                continue
            for batch in responder.respond_chunk([question for _, question in chunk], done=places):
                yield {chunk[place][0]: _make_line(chunk[place][0], answer) for place, answer in batch.items()}
                answered, now = answered + len(batch), time.monotonic()
                there, pace = min(len(done) + answered, questions.count), 60 * answered / max(now - start, 1e-9)
                what = f"{there:,} of {questions.count:,} rows, {pace:,.0f} a minute"
                progress(what, there, questions.count)
                if now - said >= SECONDS and not sys.stderr.isatty():  # there is no bar then
                    said = now
                    print(f"respond: {what}", file=sys.stderr, flush=True)


def _make_line(row: int, answer: Answer) -> dict[str, Any]:
    return {"row": row, **asdict(answer)}
