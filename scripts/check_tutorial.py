"""Runs the commands of docs/tutorial.md and the cells of docs/tutorial.ipynb, as a reader would, each in a new folder.

    python scripts/check_tutorial.py [tutorial] [notebook] [--write_outputs]

Each command must end with the status that the page says, and its output must have the lines that the page shows,
figures aside. Comments in the page say what is not run, and what runs in the background: scripts/tutorial/blocks.py.
No network is needed. `make tutorial` runs it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import nbformat
from tutorial.blocks import read_steps
from tutorial.notebook import drop_private_details, read_notebook, run_notebook
from tutorial.steps import StepError, make_environment, run_steps

from lightning_med.utils.files import write_text
from lightning_med.utils.signals import Interrupted, raise_on_signals

DOCS = Path(__file__).parents[1] / "docs"
PAGE, NOTEBOOK = DOCS / "tutorial.md", DOCS / "tutorial.ipynb"
PARTS = ("tutorial", "notebook")


def check_page(page: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """Runs the commands of a page in a folder, and prints how long each block took."""
    for step, seconds in run_steps(read_steps(page.read_text(encoding="utf-8")), folder, environment):
        print_time(seconds, f"line {step.line}: {step.commands.splitlines()[0]}")


def check_notebook(path: Path, folder: Path, environment: Mapping[str, str], write_outputs: bool) -> None:
    """Executes a notebook in a folder, and prints how long each cell took.

    Args:
        path: The notebook.
        folder: The kernel's current folder.
        environment: The kernel's variables.
        write_outputs: Write the outputs into the notebook.
    """
    notebook = read_notebook(path)
    for title, seconds in run_notebook(notebook, folder, environment):
        print_time(seconds, f"cell: {title}")
    if write_outputs:
        drop_private_details(notebook, folder)
        write_text(path, nbformat.writes(notebook).rstrip("\n") + "\n")
        print(f"outputs: {path}")


def print_time(seconds: float, title: str) -> None:
    """Prints one line of the report."""
    print(f"{seconds:6.1f} s  {title[:100]}", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Returns 1 where a command or a cell did not do what it should, else 0."""
    parser = argparse.ArgumentParser("check_tutorial", description="Run the tutorial's commands and its notebook.")
    parser.add_argument("parts", nargs="*", metavar="PART", help="tutorial, notebook; default: both")
    parser.add_argument("--write_outputs", action="store_true", help="write the notebook's outputs into it")
    given = parser.parse_args(argv)
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no part {' or '.join(sorted(unknown))}; there are {' and '.join(PARTS)}")
    start = time.monotonic()
    for part in given.parts or PARTS:
        try:
            with raise_on_signals(), tempfile.TemporaryDirectory(prefix=f"{part}-") as name:
                folder = Path(name, "first-model")
                folder.mkdir()
                environment = make_environment(Path(name))
                if part == "tutorial":
                    check_page(PAGE, folder, environment)
                else:
                    check_notebook(NOTEBOOK, folder, environment, given.write_outputs)
        except (StepError, ValueError) as error:
            print(f"check_tutorial: {part}: {error}", file=sys.stderr)
            return 1
        except Interrupted as interrupted:
            print(f"check_tutorial: stopped by {interrupted}.", file=sys.stderr)
            return interrupted.code
    print_time(time.monotonic() - start, "in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
