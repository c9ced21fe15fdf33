"""Measures how fast programs answer, side by side: our engines and servers, transformers, llama.cpp.

    python scripts/benchmark_answering.py --model DIR --json answering.json

A base's folder in the place of an export is exported first. In every round each program runs in a new process: it
answers a few tokens to other questions, and then the questions of each number of streams, with the likeliest tokens,
as many of each answer as `--tokens` says. Figures are medians over the rounds, with the least and the greatest.

- Tokens a second: of all answers, from the questions to the last token; the reading of the prompts is part of it.
- First text: from the questions to the first text of an answer, of which our engines give what no later token changes,
  and our server what its guard has checked.
- Limit by memory: the bandwidth that was measured, divided by the bytes of the weights that a token reads. A processor
  whose cache holds part of them can be faster.
- Equal answers: the share that equals those of transformers in float32.

Servers are asked by the client `openai` in another process. Ours checks questions and answers, and ends an answer where
the model ends it; the others are told to write on. What an engine has read of a prompt's common beginning it keeps:
the questions before the measurement begin alike.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from answering.jobs import Job
from answering.programs import PROGRAMS, run_program
from answering.questions import MOST
from answering.rounds import BANDWIDTH, PREPARE, WORKER, run_rounds, run_worker
from measurement import describe_machine

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.errors import InputError, RunError, UserError, check_range
from lightning_med.utils.files import write_text

_PACKAGES = ("lightning_med", "torch", "transformers", "llama-cpp-python", "openai")


def parse_options(argv: list[str]) -> argparse.Namespace:
    """Parses and checks the options.

    Raises:
        InputError: One of them is wrong.
    """
    parser = Parser("benchmark_answering", __doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", type=Path, help="an export, or a base's folder (default: the newest export)")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32], help="side by side (default: 1 8 32)")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer (default: 64)")
    parser.add_argument("--rounds", type=int, default=3, help="of all programs (default: 3)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="(default: the cores)")
    parser.add_argument(
        "--programs", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS), help="(default: all)", metavar="NAME"
    )
    parser.add_argument(
        "--serve_options",
        default="",
        metavar="WORDS",
        help="more of lightning-med serve: --serve_options='--x 1 --y 2'",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the figures")
    options = parser.parse_args(argv)
    for name, least in (("tokens", 2), ("rounds", 1), ("threads", 1)):
        check_range(f"--{name}", getattr(options, name), least)
    for count in options.streams:
        check_range("--streams", count, 1, MOST)
    options.streams = sorted(set(options.streams))
    return options


def benchmark(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Runs everything and returns the report.

    Args:
        options: Of the command.
        folder: Empty, for what is made.
    """
    from answering.report import make_report

    job = folder / "job.json"
    asked = {"model": str(options.model), "streams": options.streams, "tokens": options.tokens}
    asked |= {"threads": options.threads, "serve": shlex.split(options.serve_options)}
    job.write_text(json.dumps(asked), encoding="utf-8")
    _say("preparing the model")
    prepared = run_worker(__file__, PREPARE, job, options.threads)
    if "skipped" in prepared:
        raise InputError(prepared["skipped"])
    runs = run_rounds(__file__, options.programs, job, options.rounds, options.threads, _say)
    report = make_report(runs, options.streams, prepared["parameters"], options.tokens)
    about = {"machine": describe_machine(_PACKAGES), "model": str(options.model), "threads": options.threads}
    return {**about, "rounds": options.rounds, "prompt_tokens": prepared["prompt_tokens"], **report}


def work(what: str, job: Path, result: Path) -> None:
    """What a new process does: prepare the job, measure the memory, or run one program."""
    if what == BANDWIDTH:
        from answering.memory import measure_bandwidth

        result.write_text(json.dumps({"bandwidth": measure_bandwidth(Job.read(job).threads)}), encoding="utf-8")
    elif what == PREPARE:
        from answering.memory import count_read_parameters
        from answering.preparation import prepare

        asked = json.loads(job.read_text(encoding="utf-8"))
        made = prepare(Path(asked.pop("model")), **asked, scratch=job.parent)
        made.write(job)
        longest = max(len(prompt) for one in made.sets for prompt in one.prompts)
        figures = {"parameters": count_read_parameters(Path(made.model)), "prompt_tokens": longest}
        result.write_text(json.dumps(figures), encoding="utf-8")
    else:
        run_program(what, Job.read(job), result)


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 0 done, 1 a run that failed, 2 wrong input."""
    if argv[:1] == [WORKER]:
        try:
            work(argv[1], Path(argv[2]), Path(argv[3]))
        except UserError as error:
            Path(argv[3]).write_text(json.dumps({"skipped": " ".join(str(error).split())}), encoding="utf-8")
        return 0
    from answering.tables import make_markdown

    try:
        options = parse_options(argv)
        if options.model is None:
            from lightning_med.serving.responder import find_newest_export

            options.model = find_newest_export()
        with tempfile.TemporaryDirectory() as folder:
            report = benchmark(options, Path(folder))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1 if isinstance(error, RunError) else 2
    print(make_markdown(report))
    if options.json:
        write_text(options.json, json.dumps(report, indent=2) + "\n")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
