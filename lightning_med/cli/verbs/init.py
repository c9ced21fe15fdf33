"""`lightning-med init`: three questions, and a config for a fit of one's own."""

from __future__ import annotations

import argparse
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_med.cli.output import json_output
from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text

if TYPE_CHECKING:
    from lightning_med.cli.first_config.base_choice import Base
    from lightning_med.cli.first_config.data_choice import Data
    from lightning_med.cli.first_config.machine import Machine

_DESCRIPTION = """Ask for data, base and machine, and write a commented config for a fit. Enter takes the answer in
brackets. Options answer without being asked; from a pipe each line is an answer, and the defaults hold where it ends.
Nothing is downloaded."""
_COLUMNS = {
    "question_column": "column of the patients' words, where names do not tell it",
    "answer_column": "column of the doctors' words, where names do not tell it",
    "messages_column": "column of conversations of several turns, instead of these two",
}


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    given = make_parser().parse_args(argv[1:])
    _check(given)
    from lightning_med.cli.first_config.config_text import describe_fit, format_config
    from lightning_med.cli.first_config.settings import make_sections
    from lightning_med.cli.first_config.training_kind import choose_training

    with json_output.collect_result(given.json) as result:
        data = _choose_data(given)
        path = given.output or Path(f"{_clean(data.name)}.yaml")
        if path.exists() and not given.overwrite:
            raise InputError(f"{path} exists.", "Name another file with --output, or add --overwrite.")
        machines = _measure()
        base = _choose_base(given, machines)
        machine = _choose_machine(given, machines)
        training = choose_training(data, base, machine)
        purpose = describe_fit(data, base, machine, training)
        text = format_config(make_sections(data, base, machine, training), purpose, path, base.fetch)
        _write(path, text)
        print(f"config: {path} ({purpose})")
        if not training.fits:
            print(f"It takes about {training.memory:.1f} GiB, and there are {machine.memory:.1f}: it may not fit.")
        steps = _list_steps(path, base)
        print(f"next: {' && '.join(steps)}")
        result |= {"config": path, "data": data.source, "base": base.name, "machine": machine.kind, "next": steps}
    return 0


def make_parser() -> Parser:
    """Returns the parser of `init`."""
    parser = Parser("lightning-med init", _DESCRIPTION)
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="a table, a folder of tables, kaggle:OWNER/NAME, hub:OWNER/NAME, or sample (synthetic consultations)",
    )
    parser.add_argument(
        "--base",
        metavar="BASE",
        help="a folder, smollm2 (fetch makes it), distilgpt2 or another name on the Hub, or scratch (random weights)",
    )
    parser.add_argument("--machine", metavar="KIND", help="gpu (one), cpu (this one) or cluster (several GPUs)")
    for name, text in _COLUMNS.items():
        parser.add_argument(f"--{name}", metavar="NAME", help=text)
    parser.add_argument(
        "--output", type=Path, metavar="FILE.yaml", help="the config to write (default: named by the data)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file")
    parser.add_argument("--json", action="store_true", help=json_output.HELP)
    return parser


def _check(given: argparse.Namespace) -> None:
    if given.messages_column and (given.question_column or given.answer_column):
        raise InputError("--messages_column stands instead of the two other columns.", "Leave them out, or it.")
    if bool(given.question_column) != bool(given.answer_column):
        raise InputError("--question_column and --answer_column belong together.", "Name both.")
    if given.output and given.output.suffix not in (".yaml", ".yml"):
        raise InputError(f"--output {given.output} is no YAML file.", "Let its name end in .yaml.")


def _choose_data(given: argparse.Namespace) -> Data:
    from lightning_med.cli.first_config.data_choice import explain_columns, read_column, read_data, suggest_data
    from lightning_med.cli.first_config.questions import ask, is_terminal

    columns = {name: column for name in _COLUMNS if (column := getattr(given, name))}
    read = partial(read_data, given=columns)
    data = read(given.data) if given.data else ask("data (a table, kaggle:…, hub:… or sample)", suggest_data(), read)
    if data.header is None or data.columns:
        return data
    if given.data or not is_terminal():
        raise explain_columns(data)
    print(explain_columns(data).what)
    pick = partial(read_column, data)
    question = ask("column of the questions", None, pick)
    return read_data(
        data.source, {"question_column": question, "answer_column": ask("column of the answers", None, pick)}
    )


def _measure() -> dict[str, Machine]:
    with show_progress("Measuring") as progress:
        progress("this machine", 0, 0)
        from lightning_med.cli.first_config.machine import measure_machine  # takes seconds: torch

        return measure_machine()


def _choose_base(given: argparse.Namespace, machines: dict[str, Machine]) -> Base:
    from lightning_med.cli.first_config.base_choice import read_base, suggest_base
    from lightning_med.cli.first_config.machine import read_machine
    from lightning_med.cli.first_config.questions import ask

    machine = read_machine(machines, given.machine) if given.machine else next(iter(machines.values()))
    question = "base (smollm2, distilgpt2, a folder, OWNER/NAME on the Hub, or scratch)"
    return read_base(given.base) if given.base else ask(question, suggest_base(machine.memory), read_base)


def _choose_machine(given: argparse.Namespace, machines: dict[str, Machine]) -> Machine:
    from lightning_med.cli.first_config.machine import read_machine
    from lightning_med.cli.first_config.questions import ask

    read, here = partial(read_machine, machines), next(iter(machines.values()))
    if given.machine:
        return read(given.machine)
    return ask(f"machine (gpu, cpu or cluster; this one: {here.text})", here.kind, read)


def _list_steps(path: Path, base: Base) -> list[str]:
    """Returns the commands that come next."""
    config = shlex.quote(str(path))
    fetch = [f"lightning-med fetch {base.fetch}"] if base.fetch else []
    return [*fetch, f"lightning-med prepare --config {config}", f"lightning-med fit --config {config}"]


def _clean(name: str) -> str:
    from lightning_med.checkpoints.run_folder import clean_name

    return clean_name(name) or "first"


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.", "Name another place: --output FILE") from error
