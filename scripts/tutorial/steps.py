"""Runs commands as a reader types them, in an environment of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from local_servers import find_free_port, stop_group, wait_until_ready

from tutorial.blocks import Step
from tutorial.shown_output import find_missing

_SHELL = ("bash", "-e", "-o", "pipefail", "-c")
_PATIENCE = 600.0  # seconds for one block


class StepError(Exception):
    """A block of commands that did not do what the page says; the text says what, and ends with the output."""


@dataclass
class Program:
    """A program in the background, and the section of the page with which it ends."""

    process: subprocess.Popen[bytes]
    section: int


def make_environment(work: Path) -> dict[str, str]:
    """Returns an environment with this interpreter's commands first, a cache of its own and no other setting of ours.

    No Hub is asked in it.

    Args:
        work: The folder of the run.
    """
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    fresh = {"PATH": path, "LIGHTNING_MED_CACHE": str(work / "cache"), "HF_HUB_OFFLINE": "1", "COLUMNS": "80"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIGHTNING_MED_")}
    return {**kept, **fresh}


def run_steps(steps: list[Step], folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[Step, float]]:
    """Runs blocks one after another.

    The port of a program in the background is another one here, a free one, in all commands of its section.

    Args:
        steps: As `read_steps` returns them.
        folder: The current folder of each.
        environment: Its variables.

    Yields:
        Each block that did what the page says, with the seconds that it took.

    Raises:
        StepError: One did not.
    """
    ports: dict[str, str] = {}
    with _stop_at_end() as programs:
        for step in steps:
            while programs and programs[0].section != step.section:
                stop_group(programs.pop(0).process, signal.SIGINT)
                ports = {}
            if step.address:
                ports[str(urlsplit(step.address).port)] = find_free_port()
            step = replace_ports(step, ports)
            start = time.monotonic()
            written = _start(step, folder, environment, programs) if step.address else _run(step, folder, environment)
            if missing := find_missing(step.shown, written):
                raise StepError(_describe(step, "this line of the page is not in its output: " + missing[0], written))
            yield step, time.monotonic() - start


def replace_ports(step: Step, ports: Mapping[str, str]) -> Step:
    """Returns a block whose commands and address name other ports."""
    if not ports:
        return step
    named = re.compile(rf"\b(?:{'|'.join(ports)})\b")
    commands, address = (named.sub(lambda port: ports[port[0]], text) for text in (step.commands, step.address))
    return replace(step, commands=commands, address=address)


def _run(step: Step, folder: Path, environment: Mapping[str, str]) -> str:
    process = subprocess.Popen(
        (*_SHELL, step.commands),
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        written = process.communicate(step.typed.encode(), timeout=_PATIENCE)[0].decode(errors="replace")
    except subprocess.TimeoutExpired as error:
        written = (error.output or b"").decode(errors="replace")
        raise StepError(_describe(step, f"it did not end within {_PATIENCE:.0f} s.", written)) from error
    finally:
        stop_group(process, signal.SIGINT)
    if process.returncode != step.status:
        raise StepError(_describe(step, f"it ended with status {process.returncode}, not {step.status}.", written))
    return written


def _start(step: Step, folder: Path, environment: Mapping[str, str], programs: list[Program]) -> str:
    log = folder / f"line-{step.line}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            (*_SHELL, step.commands),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    programs.append(Program(process, step.section))
    if not wait_until_ready(process, step.address, _PATIENCE):
        what = f"it never answered at {step.address}."
        raise StepError(_describe(step, what, log.read_text(encoding="utf-8", errors="replace")))
    return log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def _stop_at_end() -> Iterator[list[Program]]:
    programs: list[Program] = []
    try:
        yield programs
    finally:
        for program in programs:
            stop_group(program.process, signal.SIGINT)


def _describe(step: Step, what: str, written: str) -> str:
    return "\n".join((f"line {step.line}: {what}", *(f"  $ {line}" for line in step.commands.splitlines()), written))
