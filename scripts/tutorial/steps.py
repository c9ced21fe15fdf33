"""Runs commands as a reader types them, in an environment of their own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

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
    """Returns an environment with this interpreter's commands first and a cache of its own, in which no Hub is asked.

    Args:
        work: The folder of the run.
    """
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    fresh = {"PATH": path, "LIGHTNING_MED_CACHE": str(work / "cache"), "HF_HUB_OFFLINE": "1", "COLUMNS": "80"}
    return {**{name: value for name, value in os.environ.items() if name != "LIGHTNING_MED_MODEL"}, **fresh}


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
                _stop(programs.pop(0).process)
                ports = {}
            if step.address:
                ports[str(urlsplit(step.address).port)] = find_free_port()
            step = replace_ports(step, ports)
            start = time.monotonic()
            written = _start(step, folder, environment, programs) if step.address else _run(step, folder, environment)
            if missing := find_missing(step.shown, written):
                raise StepError(_describe(step, "this line of the page is not in its output: " + missing[0], written))
            yield step, time.monotonic() - start


def find_free_port() -> str:
    """Returns a port of this machine that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


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
        _stop(process)
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
    end = time.monotonic() + _PATIENCE
    while not _answers(step.address):
        if process.poll() is not None or time.monotonic() > end:
            what = f"it never answered at {step.address}."
            raise StepError(_describe(step, what, log.read_text(encoding="utf-8", errors="replace")))
        time.sleep(0.2)
    return log.read_text(encoding="utf-8", errors="replace")


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@contextmanager
def _stop_at_end() -> Iterator[list[Program]]:
    programs: list[Program] = []
    try:
        yield programs
    finally:
        for program in programs:
            _stop(program.process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all that it started, as Ctrl-C does, and after ten seconds by force."""
    if process.poll() is not None:
        return
    for number, patience in ((signal.SIGINT, 10), (signal.SIGKILL, 10)):
        os.killpg(process.pid, number)
        try:
            process.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue


def _describe(step: Step, what: str, written: str) -> str:
    return "\n".join((f"line {step.line}: {what}", *(f"  $ {line}" for line in step.commands.splitlines()), written))
