"""Installs the wheel with each extra into an empty environment and runs the commands of a user, away from the checkout.

    python scripts/check_wheel.py                      # without an extra, then with each; 2 to 4 minutes each
    python scripts/check_wheel.py app mlflow           # these extras alone; `none` is the wheel without one
    python scripts/check_wheel.py app --base smollm2   # the quickstart's commands with a pretrained base

Each environment is new, and the installed command runs in an empty folder with an empty home folder. The network that
it trains is tiny unless `--base` says otherwise. A line is printed for each command with its seconds. An extra stops at
its first failure, and the exit status is 1. The package `build` must be installed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from typing import Any

from local_servers import run_server

_ROOT = Path(__file__).parents[1]
_QUESTION = "My tongue is sore, what can I do?"
_DANGER = "crushing chest pain and my left arm is numb"
_RUN = "lightning_logs/first/version_0"
_PATIENCE = 900  # seconds for one command

# From nothing to an answer, by the command alone. {config} is a name of a config that the wheel has.
_COMMANDS = f"""
lightning-med --version
lightning-med --help
lightning-med triage "{_DANGER}"
lightning-med prepare --config {{config}} {{options}}
lightning-med fit --config {{config}} {{options}} --name first
lightning-med test --ckpt_path {_RUN}/checkpoints/last.ckpt
lightning-med export --checkpoint {_RUN}/checkpoints/last.ckpt --output {_RUN}/export
lightning-med respond --model {_RUN}/export --json "{_QUESTION}"
lightning-med runs
lightning-med cache
"""
_TRACKED = "lightning-med fit --config configs/debug.yaml --logger {extra}"
# What each extra adds to these; an extra that is not named is installed and `--version` runs.
_MORE = {
    "none": "lightning-med completion bash",
    "app": "serve",
    "llama": f"lightning-med chat --model {_RUN}/export --engine llama.cpp",
    "wandb": _TRACKED,
    "mlflow": _TRACKED,
    "trackio": _TRACKED,
}
_KEPT = ("PIP_", "SSL_", "CURL_", "REQUESTS_")  # how this machine reaches the package index
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")  # in small letters, too
_SHORT = "--trainer.max_steps 12 --trainer.limit_val_batches 2 --samples.counted 0"


@dataclass
class Place:
    """An environment with the wheel, and an empty folder to work in."""

    folder: Path

    @property
    def programs(self) -> Path:
        return self.folder / "env" / "bin"

    @property
    def variables(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in os.environ if name.startswith(_KEPT) or name.upper() in _PROXIES}
        path = os.pathsep.join((str(self.programs), "/usr/local/bin", "/usr/bin", "/bin"))
        return {**kept, "PATH": path, "HOME": str(self.folder / "home"), "LANG": "C.UTF-8", "WANDB_MODE": "offline"}

    def run(self, command: str | list[str], shown: str = "") -> str:
        """Runs a command, with a question on its standard input; returns its standard output.

        Args:
            command: A line of a shell, or its words where they hold paths of this machine.
            shown: What is printed in its place.

        Raises:
            RuntimeError: It fails.
        """
        start = time.monotonic()
        options: dict[str, Any] = {"cwd": self.folder / "work", "env": self.variables, "input": f"{_QUESTION}\n"}
        words = shlex.split(command) if isinstance(command, str) else command
        result = subprocess.run(words, **options, capture_output=True, text=True, timeout=_PATIENCE)
        print(f"  {time.monotonic() - start:6.1f} s  {shown or command}", flush=True)
        if result.returncode:
            raise RuntimeError(f"exit status {result.returncode}: {result.stdout[-2000:]}{result.stderr[-3000:]}")
        return result.stdout


def build_wheel(folder: Path) -> Path:
    """Builds the wheel of this checkout.

    Raises:
        RuntimeError: It cannot be built.
    """
    argv = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(_ROOT)]
    result = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        raise RuntimeError(f"the wheel cannot be built: {result.stdout[-5000:]}")
    return next(folder.glob("*.whl"))


def list_extras(wheel: Path) -> list[str]:
    """Returns the extras of a user: all but those of the developers."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        extras = Parser().parsestr(archive.read(name).decode()).get_all("Provides-Extra", [])
    return ["none", *(extra for extra in extras if extra != "dev")]


def install(place: Place, wheel: Path, extra: str) -> None:
    """Makes the environment."""
    for name in ("work", "home"):
        (place.folder / name).mkdir()
    place.run([sys.executable, "-m", "venv", str(place.folder / "env")], "python -m venv env")
    settings = Path.home() / ".config" / "pip"  # where packages come from is this machine's affair
    if settings.is_dir():
        (place.folder / "home" / ".config").mkdir()
        (place.folder / "home" / ".config" / "pip").symlink_to(settings)
    name = f"{wheel}[{extra}]" if extra != "none" else str(wheel)
    command = ["pip", "install", "--quiet", name, "-c", str(_ROOT / "constraints.txt")]
    place.run(command, f"pip install {name.replace(str(wheel), wheel.name)}")
    place.run("pip check")


def serve(place: Place) -> None:
    """Starts `serve` on a free port, asks for its health and its page, and ends it.

    Raises:
        ServerError: It does not answer.
    """
    start = time.monotonic()
    command = ["lightning-med", "serve", "--model", f"{_RUN}/export", "--port", "PORT"]
    with run_server(command, ("/health", "/"), place.folder / "work", place.variables):
        pass
    print(f"  {time.monotonic() - start:6.1f} s  lightning-med serve: /health and the page")


def check(place: Place, wheel: Path, extra: str, base: str | None) -> None:
    """Runs the commands with one extra.

    Raises:
        RuntimeError: A command fails.
    """
    install(place, wheel, extra)
    if extra in _MORE:
        if base:
            place.run(f"lightning-med fetch {base}")
        config, options = ("configs/quickstart.yaml", "") if base else ("configs/quickstart_small.yaml", _SHORT)
        for command in _COMMANDS.strip().format(config=config, options=options).splitlines():
            place.run(command)
        if extra == "app":
            serve(place)
        else:
            place.run(_MORE[extra].format(extra=extra))
    else:
        place.run("lightning-med --version")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help="all where none is given")
    parser.add_argument("--base", choices=["smollm2"], help="train the quickstart's adapter on it: many minutes")
    given = parser.parse_args(argv)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            wheel = build_wheel(Path(folder))
        except RuntimeError as error:
            print(f"check_wheel: {error}", file=sys.stderr)
            return 1
        there = list_extras(wheel)
        if unknown := sorted({*given.extras} - {*there}):
            parser.error(f"there is no extra {unknown[0]}; there are {', '.join(there)}")
        for extra in given.extras or there:
            print(f"{wheel.name}, extra: {extra}", flush=True)
            with tempfile.TemporaryDirectory() as home:
                try:
                    check(Place(Path(home)), wheel, extra, given.base)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    print(f"  failed: {error}")
                    failed.append(extra)
    print(f"failed: {', '.join(failed)}" if failed else "All passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
