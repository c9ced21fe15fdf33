"""Output to the console: where bars are drawn, and how lines go out beside them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from tqdm import tqdm

from lightning_med.utils.console import draws_bars, say


@pytest.fixture
def terminal() -> Any:
    """A pseudo terminal, as a text file."""
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as file:
        yield file
    os.close(master)


@pytest.mark.parametrize(
    ("environment", "drawn"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "TTY_INTERACTIVE": "0"}, False)],
)
def test_bars_are_drawn_on_a_terminal_that_moves_its_cursor(
    terminal: Any, environment: dict[str, str], drawn: bool
) -> None:
    assert draws_bars(Console(file=terminal, _environ=environment)) is drawn


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_no_bars_are_drawn_into_a_file(tmp_path: Path, environment: dict[str, str]) -> None:
    with (tmp_path / "log").open("w") as file:
        assert not draws_bars(Console(file=file, _environ=environment))


@pytest.mark.parametrize("found", [True, False])
def test_bars_in_a_notebook_need_ipywidgets(monkeypatch: pytest.MonkeyPatch, found: bool) -> None:
    monkeypatch.setattr("lightning_med.utils.console.find_spec", lambda name: (name == "ipywidgets" and found) or None)
    assert draws_bars(Console(force_jupyter=True)) is found


def test_standard_output_decides_without_a_console(monkeypatch: pytest.MonkeyPatch, terminal: Any) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", terminal)
    assert draws_bars()
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert not draws_bars()


def test_a_line_is_flushed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "log").open("w") as file:
        monkeypatch.setattr("sys.stdout", file)
        say("half of it is done")
        assert (tmp_path / "log").read_text() == "half of it is done\n"


def test_a_line_stands_alone_beside_a_bar_of_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    with tqdm(total=3, desc="Training", file=out) as bar:
        bar.update(1)
        say("one of three", SimpleNamespace(progress_bar_callback=object()))
    before, after = out.getvalue().split("one of three\n")
    assert before.endswith("\r")  # the bar's line is blank
    assert after.strip().startswith("Training:")
