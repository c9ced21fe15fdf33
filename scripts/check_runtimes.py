"""Checks that an export is the same model in every program: transformers 4, GGUF read back, llama.cpp.

    python scripts/check_runtimes.py RUN/checkpoints/last.ckpt --data FILE.csv --llama PYTHON --transformers4 PYTHON

What transformers 5 does with the Hugging Face folder is the reference. Compared with it are, over 20 questions:

- the float32 GGUF file, read back with transformers: logits (relative difference at most 1e-3);
- llama.cpp, with a cache in float32: the ids of questions, of odd texts and of texts that spell control tokens, the
  prompts that the file's chat template renders, the tokens that end an answer, the logits after each prompt (1e-2; it
  rounds GELU to 16 bits), and the first 64 tokens of greedy answers (logits within 1e-4 are a tie);
- transformers 4: the same ids and prompts, ids and assistant's masks of conversations, special tokens, settings of
  generation, and logits (1e-5).

Both run in interpreters of their own: `--llama` names one with llama-cpp-python, `--transformers4` one with
transformers 4 and torch. A folder that is given in the place of a checkpoint is compared with transformers 4 alone,
unless there is a GGUF export of the same model: `--gguf FOLDER`. The exit status is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pandas as pd
from runtimes.comparison import Comparison, Findings
from transformers.utils import logging

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.data.sample import PATH as SAMPLE
from lightning_med.export.checkpoint_export import export_checkpoint
from lightning_med.export.export_kind import ExportKind
from lightning_med.export.gguf.folder import GGUF_FILE
from lightning_med.tokenization.text_normalization import normalize_whitespace
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError, RunError, UserError, check_range


def parse_options(argv: list[str]) -> argparse.Namespace:
    """Parses and checks the options.

    Raises:
        InputError: One of them is wrong.
    """
    parser = Parser("check_runtimes", "Compare an export in transformers 5 with other programs that run it.")
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="a checkpoint, or an export's folder")
    parser.add_argument("--gguf", type=Path, metavar="FOLDER", help="GGUF export of the one folder that is given")
    parser.add_argument("--data", type=Path, default=SAMPLE, help="CSV with questions (default: embedded ones)")
    parser.add_argument("--column", default="input", help="of the questions (default: input)")
    parser.add_argument("--questions", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--llama", metavar="PYTHON", help="an interpreter that has llama-cpp-python")
    parser.add_argument("--transformers4", metavar="PYTHON", help="an interpreter that has transformers 4 and torch")
    parser.add_argument("--threads", type=int, default=1, help="of each program (default: 1)")
    options = parser.parse_args(argv)
    check_range("--questions", options.questions, 1)
    check_range("--threads", options.threads, 1)
    if options.gguf and (len(options.models) > 1 or options.models[0].is_file()):
        raise InputError("--gguf belongs to one export's folder.", "Give that folder alone, or leave --gguf out.")
    return options


def read_questions(options: argparse.Namespace) -> list[str]:
    """Returns the first questions of a table.

    Raises:
        InputError: It cannot be read, or has no such column.
    """
    try:
        column = pd.read_csv(options.data)[options.column]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{options.data} has no questions: {error}.", "Give --data FILE.csv and --column.") from error
    return [normalize_whitespace(str(text)) for text in column.dropna().head(options.questions)]


def check_model(path: Path, options: argparse.Namespace, folder: Path) -> Findings:
    """Compares one model.

    Args:
        path: A checkpoint, or an export's folder.
        options: Of the command.
        folder: Empty; a checkpoint is exported into it.
    """
    exported, gguf = path, options.gguf
    if path.is_file():
        exported = export_checkpoint(path, folder / "hf")
        try:
            gguf = export_checkpoint(path, folder / "gguf", kind=ExportKind("gguf"))
        except InputError as error:
            say(f"{path}: no GGUF: {error.what}")
    comparison = Comparison(exported, read_questions(options), options.threads)
    if gguf is not None:
        comparison.compare_file(gguf / GGUF_FILE)
        if options.llama:
            comparison.compare_llama(gguf / GGUF_FILE, options.llama)
    if options.transformers4:
        comparison.compare_transformers4(options.transformers4)
    return comparison.findings


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    wrong = 0
    try:
        options = parse_options(argv)
        for path in options.models:
            with tempfile.TemporaryDirectory() as folder:
                findings = check_model(path, options, Path(folder))
            say(f"{path}")
            for name, figure in findings.figures.items():
                say(f"  {name}: {figure}{'  WRONG' if f'{name}: {figure}' in findings.faults else ''}")
            wrong += len(findings.faults)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1 if isinstance(error, RunError) else 2
    say(f"{wrong} wrong" if wrong else "all equal")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
