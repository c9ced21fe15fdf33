"""Runs the steps of the Dockerfile in a bare Debian, where there is no Docker engine; as root, on Linux.

    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm ROOTS/base
    python scripts/check_dockerfile.py ROOTS [--target cpu] [--argument NAME=VALUE ...] [--share PATH ...] [--serve]

ROOTS/base stands for the base image. Each stage that the target needs is a copy of the one that it begins with, in
which its commands run (chroot). What this does not check: that the base image has Python where ours expects it, the
syntax beyond the instructions that the Dockerfile uses, layers, and the health check's own timing.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from container.changed_root import StageRoot
from container.dockerfile import Stage, find_last, list_needed, read_stages
from container.mounts import list_mounts, mount

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError, UserError
from lightning_med.utils.signals import Interrupted, raise_on_signals

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "Dockerfile"
ENDED = 143  # the status of a server that was asked to end


def choose_stages(given: argparse.Namespace) -> tuple[list[Stage], dict[str, str]]:
    """Returns the stages that the target needs, and the values of their arguments by name.

    Raises:
        InputError: There is no such target, or none of its stages takes such an argument.
    """
    stages = read_stages(DOCKERFILE)
    if given.target not in stages:
        raise InputError(f"There is no target {given.target}.", f"Targets: {', '.join(stages)}.")
    needed = list_needed(stages, given.target)
    taken = [one.text.partition("=")[0] for stage in needed for one in stage.instructions if one.name == "ARG"]
    for pair in given.argument:
        name, sign, _ = pair.partition("=")
        if name not in taken:
            raise InputError(f"--argument {pair}: no stage takes {name}.", f"Known: {', '.join(taken) or 'none'}.")
        if not sign:
            raise InputError(f"--argument {pair} has no value.", f"For instance: --argument {name}=")
    return needed, dict(pair.partition("=")[::2] for pair in given.argument)


def build(given: argparse.Namespace) -> StageRoot:
    """Runs the stages that the target needs and returns its root.

    Raises:
        InputError: See `choose_stages`; or this is not root.
        RunError: A command failed.
    """
    needed, arguments = choose_stages(given)
    if os.geteuid():
        raise InputError("Only root may mount folders and change a program's root.", "Run it with sudo.")
    roots: dict[str, StageRoot] = {}
    for stage in needed:
        folder, begun = given.roots / f"stage-{stage.name}", roots.get(stage.base)
        say(f"{stage.name}: {folder}")
        root = StageRoot.copy(folder, begun.folder if begun else given.roots / "base", begun)
        roots[stage.name] = root
        with mount(folder, given.share):
            for instruction in stage.instructions:
                root.take(instruction, ROOT, roots, arguments)
    return roots[given.target]


def serve(root: StageRoot, target: str) -> None:
    """Runs the default command until a signal ends it.

    Raises:
        RunError: It failed.
    """
    command = find_last(read_stages(DOCKERFILE), target, "CMD")
    assert command is not None
    with mount(root.folder, []):
        root.run(command.words, {"LIGHTNING_MED_AUTH": os.environ.get("LIGHTNING_MED_AUTH", "")}, (0, ENDED))


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status."""
    parser = Parser("check_dockerfile", "Run the steps of the Dockerfile in a bare Debian.")
    parser.add_argument("roots", type=Path, help="a folder with base/, where the stages are made")
    parser.add_argument("--target", default="cpu", help="cpu or cuda (cpu)")
    parser.add_argument("--argument", action="append", default=[], metavar="NAME=VALUE", help="for ARG; repeatable")
    parser.add_argument(
        "--share", type=Path, action="append", default=[], metavar="PATH", help="for the steps, read-only; repeatable"
    )
    parser.add_argument(
        "--serve", action="store_true", help="run the default command at last, with this $LIGHTNING_MED_AUTH"
    )
    try:
        given = parser.parse_args(argv)
        given.roots = given.roots.resolve()
        if not (given.roots / "base" / "bin").exists():
            raise InputError(f"{given.roots / 'base'} is no root.", "Make it with debootstrap: see --help.")
        if made := sorted(given.roots.glob("stage-*")):
            # `rm -rf` of a folder below which /dev is mounted would empty /dev.
            mounted = [shlex.quote(str(path)) for folder in made for path in reversed(list_mounts(folder))]
            unmount = f"Remove nothing before this: umount --lazy {' '.join(mounted)}"
            hint = unmount if mounted else "Remove it, or name another folder."
            raise InputError(f"{made[0]} is of another run.", hint)
        with raise_on_signals():
            root = build(given)
            if given.serve:
                serve(root, given.target)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except Interrupted as interrupted:
        print(f"check_dockerfile: stopped by {interrupted}.", file=sys.stderr)
        return interrupted.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
