"""Does to real runs what machines do to them, and shows in a table what came of it.

    python scripts/torture.py [--quick] [--report docs/reliability.md] [--seed 0]

It starts runs of a tiny model over synthetic consultations as child processes; kills, signals, fills, corrupts; and
compares what a resumed run ends with, bit by bit, with a run that nobody touched.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from faults import canaries, damage, disks, endings, kills, ranks
from faults.kills import Row

from lightning_med.cli.arguments import Parser
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text

PAGE = Path(__file__).parent / "faults" / "reliability.md"
COST = Path(__file__).parent / "faults" / "cost.txt"  # what benchmark_reliability.py found last


def tests(quick: bool, home: Path, source: random.Random, tell: Callable[[str, int, int], None]) -> Iterator[Row]:
    """All of them, in turn."""
    yield from kills.resumed(home, 8 if quick else 50, source, tell)
    yield from kills.in_saves(home, 10 if quick else 100, source, tell)
    yield from damage.damaged(home, 5 if quick else 100, source, tell)
    yield from disks.full(home, tell)
    yield from disks.read_only(home, tell)
    yield from endings.signals(home, 2 if quick else 20, source, tell)
    yield from endings.not_a_number(home, tell)
    yield from canaries.strangers(home, tell)
    yield from ranks.together(home, quick, tell)


def main(argv: list[str]) -> int:
    """Returns the exit status: 1 where something did not hold."""
    parser = Parser("torture", "Do to real runs what machines do to them.")
    parser.add_argument("--quick", action="store_true", help="some of each kind, in minutes")
    parser.add_argument("--report", type=Path, help="a page to write with the results")
    parser.add_argument("--seed", type=int, default=0, help="of the random times and places")
    try:
        given: argparse.Namespace = parser.parse_args(argv)
        torch.set_num_threads(1)  # the tensors are tiny, and a forked child must not find another's threads
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        began, rows = time.monotonic(), []
        with tempfile.TemporaryDirectory() as folder, show_progress("Torture") as tell:
            for row in tests(given.quick, Path(folder), random.Random(given.seed), tell):
                rows.append(row)
                say(f"{row[1]:>4} of {row[2]:<4} {row[0]}")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    minutes = (time.monotonic() - began) / 60
    say(f"{minutes:.1f} minutes")
    if given.report:
        cost = COST.read_text(encoding="utf-8").strip() if COST.exists() else "not measured here"
        table = "\n".join(f"| {what} | {held} of {made} |" for what, held, made in rows)
        system = f"{os.cpu_count()} cores, {platform.system()}"
        machine = f"{system}, Python {platform.python_version()}, torch {torch.__version__}"
        filled = PAGE.read_text(encoding="utf-8").replace("{table}", table).replace("{machine}", machine)
        filled = filled.replace("{cost}", cost)
        write_text(given.report, filled.replace("{minutes}", f"{minutes:.0f}"))
    return int(any(held < made for _, held, made in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
