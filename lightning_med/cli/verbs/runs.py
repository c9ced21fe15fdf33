"""`lightning-med runs`: the runs under a folder, how far and how good they are, and which of them compare."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from lightning_med.checkpoints.checkpoint_files import find_best_checkpoint
from lightning_med.checkpoints.run_facts import RunFacts, Status, read_facts
from lightning_med.checkpoints.run_folder import RUNS, SETTINGS, list_versions
from lightning_med.checkpoints.run_groups import Comparison
from lightning_med.cli.output import json_output
from lightning_med.cli.output.next_steps import format_export, format_question, format_resumption
from lightning_med.cli.output.run_table import describe_run, explain, format_lines, make_table
from lightning_med.cli.parsing.arguments import Parser
from lightning_med.cli.parsing.nearest import find_nearest
from lightning_med.utils.console import show, show_progress
from lightning_med.utils.errors import InputError

_START = "lightning-med fit --config configs/quickstart_small.yaml"
_BROKEN_OFF = (Status.INTERRUPTED, Status.OUT_OF_TIME)


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    given = make_parser().parse_args(argv[1:])
    folders = _list_runs(_find_root(given.folder or Path()), given.name)
    runs = []
    with show_progress("reading") as progress:
        for folder in folders:
            runs.append(read_facts(folder))
            progress("runs", len(runs), len(folders))
    comparison = Comparison.of(runs := _sort(runs, given.sort))
    if given.json:
        for run in runs:
            json_output.print_object(describe_run(run, comparison), sys.stdout)
        return 0
    if not runs:
        print("no runs yet")
    elif sys.stdout.isatty():
        show(make_table(runs, comparison))
    else:
        print("\n".join(format_lines(runs, comparison)))
    for line in explain(runs, comparison):
        print(line)
    print(f"next: {_choose_next(runs, comparison)}")
    return 0


def make_parser() -> Parser:
    """Returns the parser of `runs`."""
    parser = Parser("lightning-med runs", "The runs under lightning_logs: how far, how good, and which is best.")
    parser.add_argument("folder", nargs="?", metavar="FOLDER", type=Path, help="lightning_logs, or where it lies")
    parser.add_argument("--name", metavar="NAME", help="the runs of one name alone")
    parser.add_argument(
        "--sort",
        choices=("when", "perplexity", "name"),
        default="when",
        help="newest first; or by validation perplexity, group by group; or by name (default: when)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each run")
    return parser


def _find_root(folder: Path) -> Path:
    """Returns the folder of all names: the one that is given, or `lightning_logs` in it."""
    if (folder / RUNS).is_dir():
        return folder / RUNS
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder.", f"Name a folder of runs: lightning-med runs DIR/{RUNS}")
    if folder.resolve().name != RUNS and not _list_runs(folder, None):
        raise InputError(f"There are no runs in {folder}.", f"Name a folder of runs, or start one: {_START}")
    return folder


def _list_runs(root: Path, name: str | None) -> list[Path]:
    """Returns the folders of all runs, or of those of one name.

    Raises:
        InputError: There are none of this name.
    """
    if versions := list_versions(root):  # the folder of one name
        homes = {root.resolve().name: versions}
    else:
        homes = {
            home.name: found for home in sorted(root.iterdir()) if home.is_dir() and (found := list_versions(home))
        }
    if name is not None and name not in homes:
        near = find_nearest(name, list(homes))
        there = f"There are: {', '.join(homes)}." if homes else f"There are no runs in {root}."
        raise InputError(f"--name {name}: there is no run of this name.", f"Did you mean {near}?" if near else there)
    return [run for home, found in homes.items() if name in (None, home) for run in found if run.is_dir()]


def _sort(runs: list[RunFacts], by: str) -> list[RunFacts]:
    """Returns runs in order; of equal ones, the newest first. Perplexities are sorted within their group."""

    newest = sorted(runs, key=_get_time, reverse=True)
    if by == "name":
        return sorted(newest, key=lambda run: (run.path.parent.name, int(run.path.name.rpartition("_")[2])))
    if by == "perplexity":
        groups = Comparison.of(newest)
        last = len(groups.groups)
        order = {run.path: number for number, group in enumerate(groups.groups) for run in group}
        return sorted(newest, key=lambda run: (order.get(run.path, last), run.perplexity or float("inf")))
    return newest


def _get_time(run: RunFacts) -> datetime:
    return run.changed or datetime.fromtimestamp(0).astimezone()


def _choose_next(runs: list[RunFacts], comparison: Comparison) -> str:
    """Returns the command that comes next.

    It goes on with the newest run if that broke off; else it asks the best run of the first group, or leads there.
    """
    if runs and (newest := max(runs, key=_get_time)).status in _BROKEN_OFF:
        return format_resumption(newest.path / SETTINGS)
    measured = comparison.groups[0] if comparison.groups else comparison.unknown
    for run in [*sorted(measured, key=lambda run: run.perplexity or 0.0), *runs]:
        if run.exports:
            return format_question(run.exports[0])
        if checkpoint := find_best_checkpoint(run.path):
            output = run.path / "export"
            return f"{format_export(checkpoint, output)} && {format_question(output)}"
    for run in runs:
        if run.status in _BROKEN_OFF:
            return format_resumption(run.path / SETTINGS)
    return _START
