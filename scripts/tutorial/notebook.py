"""Executes a notebook from top to bottom, cell by cell, in a kernel of this interpreter."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from traitlets.config import Config

from tutorial.steps import StepError

_PATIENCE = 600  # seconds for one cell


def read_notebook(path: Path) -> NotebookNode:
    """Reads a notebook in its own version of the format, and checks it against its schema."""
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    return notebook


def run_notebook(notebook: NotebookNode, folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """Executes the cells of code, and leaves their outputs in the notebook.

    Args:
        notebook: As `read_notebook` returns it.
        folder: The kernel's current folder.
        environment: The kernel's variables.

    Yields:
        The first line of each cell, with the seconds that it took.

    Raises:
        StepError: A cell raised an exception.
    """
    os.environ.update({"JUPYTER_PLATFORM_DIRS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"})  # else they warn
    client = NotebookClient(
        notebook,
        timeout=_PATIENCE,
        startup_timeout=_PATIENCE,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        config=Config({"KernelManager": {"transport_encryption": "auto"}}),  # without it the kernel warns
    )
    with client.setup_kernel(env=dict(environment)):
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            start = time.monotonic()
            try:
                client.execute_cell(cell, number)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                raise StepError(f"cell {number}:\n{error}") from error
            yield (cell.source.splitlines() or ["(empty)"])[0], time.monotonic() - start


def drop_private_details(notebook: NotebookNode, folder: Path) -> None:
    """Takes out of an executed notebook what tells of the machine that ran it: metadata, and paths in the outputs.

    Args:
        notebook: As `run_notebook` leaves it.
        folder: The kernel's current folder, shown as `.`; the one above it becomes `..`, the user's own `~`.
    """
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for holder, name in [(output, "text"), *((data, kind) for kind in data if kind.startswith("text/"))]:
                if name in holder:
                    holder[name] = _hide_paths(holder[name], folder)
    notebook.metadata.get("language_info", {}).pop("version", None)


def _hide_paths(text: str, folder: Path) -> str:
    shown = {folder: ".", folder.resolve(): ".", folder.parent: "..", folder.resolve().parent: "..", Path.home(): "~"}
    for path, name in shown.items():  # the longest first: each lies in those after it
        if path != Path(path.anchor):
            text = re.sub(rf"(?<![\w.~-]){re.escape(str(path))}(?![\w.-])", name, text)
    return text
