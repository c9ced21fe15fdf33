"""`lightning-med evaluate`: how good models are, with intervals, baselines and a page."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from lightning_med.cli.output import json_output
from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.errors import InputError, check_range

_DESCRIPTION = """Measure how good models are on a table, or on the test split of a run: likelihood of the references,
text of greedy and sampled answers, copies of the training data, indicators of manner, safety; each with a 95 %
interval, beside the untuned base, a constant reply, the nearest training answer and, where a question has two answers,
another doctor's. Writes metrics.json, report.html, report.md and rows.jsonl into a folder.

For research and education: no figure here says that answers are right. After an interruption the same command goes on
with the batch that it was at."""
_KINDS = {"all": ("likelihood", "greedy", "sampled"), "likelihood": ("likelihood",)}
_KINDS |= {"greedy": ("likelihood", "greedy"), "sampled": ("likelihood", "sampled")}
_COLUMNS = ("question_column", "answer_column", "messages_column", "group_column")


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    given = make_parser().parse_args(argv[1:])
    _check(given)
    from lightning_med.evaluation.evaluation import METRICS, PAGE, Request, evaluate
    from lightning_med.evaluation.measured_rows import Plan
    from lightning_med.evaluation.results.comparisons import Interval

    plan = Plan(_KINDS[given.answers], given.max_new_tokens, given.max_length, given.sampling_seed, given.seed)
    request = Request(
        (given.model, *given.compare),
        *(given.data, given.output, given.train, given.base, given.encoder, given.canaries, given.human, given.limit),
        plan,
        Interval(given.seed, given.draws, given.power),
        {name: value for name in _COLUMNS if (value := getattr(given, name))},
        given.overwrite,
        given.update_cards,
    )
    with json_output.collect_result(given.json) as result:
        content = evaluate(request)
        for sentence in content["findings"]:
            print(sentence)
        print(f"metrics: {given.output / METRICS}")
        print(f"next: open {shlex.quote(str(given.output / PAGE))} in a browser")
        result |= {"metrics": given.output / METRICS, "report": given.output / PAGE, "findings": content["findings"]}
    return 0


def make_parser() -> Parser:
    """Returns the parser of `evaluate`."""
    parser = Parser("lightning-med evaluate", _DESCRIPTION)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--model", required=True, metavar="DIR", help="an export, or any decoder's Hugging Face folder")
    add("--compare", nargs="+", default=[], metavar="DIR", help="other models on the same rows")
    add("--data", required=True, metavar="FILE|RUN", help="a table, all of it; or a run, its test split")
    add("--output", required=True, type=Path, metavar="DIR", help="folder of the results")
    add(
        "--train",
        metavar="FILE|RUN",
        help="training rows, for the constant reply, the nearest answer and copies (default: those of the run that"
        " --data names, else those of the run that --model lies in)",
    )
    add("--base", metavar="DIR", help="the untuned base (default: what --model was trained from, where it is at hand)")
    add("--encoder", metavar="DIR", help="folder of a sentence encoder, for BERTScore and similarity by meaning")
    add("--canaries", type=Path, metavar="FILE", help="JSON Lines with planted secrets: question, answer, secret")
    add(
        "--human",
        metavar="FILE",
        help="a table with several answers to a question: how well doctors agree (default: --data, where it has such)",
    )
    add("--limit", type=int, metavar="N", help="rows, drawn by --seed (default: all)")
    add(
        "--answers",
        choices=tuple(_KINDS),
        default="all",
        help="answers that are generated: greedy, sampled, all (both), or likelihood alone (default: all)",
    )
    add("--max_new_tokens", type=int, default=256, metavar="N", help="longest answer, in tokens (default: 256)")
    add(
        "--max_length",
        type=int,
        default=1024,
        metavar="N",
        help="tokens of a row whose likelihood is measured, the model's context at most; the rest is cut (default:"
        " 1024)",
    )
    add("--sampling_seed", type=int, default=0, metavar="N", help="of sampled answers (default: 0)")
    add("--seed", type=int, default=0, metavar="N", help="of drawn rows and of intervals (default: 0)")
    add(
        "--draws",
        type=int,
        default=10_000,
        metavar="N",
        help="resamples, at least 2000 (default: 10000)",
    )
    add("--power", action="store_true", help="say how many rows a difference of the size found would need")
    for name in _COLUMNS:
        add(f"--{name}", metavar="NAME", help="column of the tables, as in --data." + name)
    add("--update_cards", action="store_true", help="write the figures into the model cards (README.md) of the exports")
    add("--json", action="store_true", help=json_output.HELP)
    add("--overwrite", action="store_true", help="replace earlier results, and rows measured for other settings")
    return parser


def _check(given: argparse.Namespace) -> None:
    for name, least in (("max_new_tokens", 1), ("max_length", 1), ("sampling_seed", 0), ("seed", 0), ("draws", 2000)):
        check_range(f"--{name}", getattr(given, name), least)
    if given.limit is not None:
        check_range("--limit", given.limit, 1)
    named = [("model", given.model), *(("compare", folder) for folder in given.compare)]
    for option, folder in (*named, ("base", given.base), ("encoder", given.encoder)):
        if folder is not None and not Path(folder).exists():
            raise InputError(f"--{option} {folder}: no such folder.", "Name a folder with config.json and weights.")
    if given.canaries is not None and not given.canaries.is_file():
        raise InputError(f"--canaries {given.canaries}: no such file.", "One JSON object with a secret on each line.")
