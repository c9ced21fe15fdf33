"""A sheet of questions with their answers, for a person to judge."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text

FORMATS = (".md", ".jsonl")


def read_questions(path: Path) -> list[str]:
    """Reads a YAML list of questions.

    Raises:
        InputError: It is none, or cannot be read.
    """
    hint = "It must be a YAML list of texts, like scripts/quickstart_questions.yaml."
    try:
        questions = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}", hint) from error
    if not isinstance(questions, list) or not questions or not all(isinstance(q, str) and q.strip() for q in questions):
        raise InputError(f"{path} is no list of questions.", hint)
    return questions


def check_sheet(path: Path) -> None:
    """Refuses a file that is there, and a name whose ending is not `.md` or `.jsonl`.

    Raises:
        InputError: It is such a one.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"--sheet {path}: {path.suffix or 'no ending'} is not known.", "Name a .md or a .jsonl file.")
    if path.exists():
        raise InputError(f"{path} exists.", "Move it away, or name another file: --sheet FILE")


def write_sheet(path: Path, questions: list[str], answers: list[str]) -> None:
    """Writes questions and answers, and nothing of what gave them.

    Args:
        path: Ends in `.jsonl` for an object with `question` and `answer` a line, or `.md`.
        questions: As asked.
        answers: As many.
    """
    pairs = list(zip(questions, answers, strict=True))
    if path.suffix == ".jsonl":
        lines = [json.dumps({"question": q, "answer": a}, ensure_ascii=False) for q, a in pairs]
        write_text(path, "\n".join(lines) + "\n")
        return
    parts = [f"## {number}\n\n**Question:** {q}\n\n**Answer:** {a}" for number, (q, a) in enumerate(pairs, 1)]
    write_text(path, "\n\n".join(parts) + "\n")
