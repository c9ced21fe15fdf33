"""The steps of a Dockerfile, run in folders that are the root of a program (chroot). Needs the rights of root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from container.dockerfile import Instruction, Stage
from container.mounts import call
from lightning_med.utils.console import say
from lightning_med.utils.errors import RunError

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class StageRoot:
    """The files and the environment of a stage while its instructions are run.

    Args:
        folder: Its root.
        environment: Of the stage that it begins with.
        workdir: Where commands run.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], workdir: str) -> None:
        self.folder, self.environment, self.workdir = folder, dict(environment), workdir
        self.arguments: dict[str, str] = {}  # of ARG; Docker forgets them after the stage
        self.user: str | None = None

    @classmethod
    def copy(cls, folder: Path, source: Path, begun: StageRoot | None) -> StageRoot:
        """Copies the files of a stage.

        Args:
            folder: Is made.
            source: The root to begin with.
            begun: The stage of that root; `None` for the base image.

        Raises:
            RunError: They cannot be copied.
        """
        call("cp", "-a", "--reflink=auto", str(source), str(folder))
        if begun is None:
            return cls(folder, {"PATH": _PATH, "HOME": "/root"}, "/")
        root = cls(folder, begun.environment, begun.workdir)
        root.user = begun.user
        return root

    def take(
        self, instruction: Instruction, context: Path, roots: Mapping[str, StageRoot], arguments: Mapping[str, str]
    ) -> None:
        """Does an instruction.

        Args:
            instruction: Of the stage.
            context: The folder that files are copied from.
            roots: The stages before this one, by name.
            arguments: Given ones, that replace the defaults of `ARG`.

        Raises:
            RunError: A command failed.
        """
        if instruction.name == "ENV":
            for word in instruction.words:
                name, _, value = word.partition("=")
                self.environment[name] = self._expand(value)
        elif instruction.name == "ARG":
            name, _, value = instruction.text.partition("=")
            self.arguments[name] = arguments.get(name, value)
        elif instruction.name == "WORKDIR":
            self.workdir = instruction.text
            self._find(self.workdir).mkdir(parents=True, exist_ok=True)
        elif instruction.name == "USER":
            self.user = instruction.text
        elif instruction.name == "COPY":
            (stage, sources, target), *_ = Stage("", "", [instruction]).list_copies()
            for source in sources:
                self._copy(roots[stage].folder / source.lstrip("/") if stage else context / source, target)
        elif instruction.name == "RUN":
            self.run(["/bin/sh", "-c", instruction.text], {**self.arguments, **self.environment})

    def run(self, argv: Sequence[str], more: Mapping[str, str], statuses: Sequence[int] = (0,)) -> None:
        """Runs a command in the root.

        Args:
            argv: Its words.
            more: Further variables.
            statuses: With which it may end.

        Raises:
            RunError: It failed.
        """
        say(f"  {' '.join(argv)}")
        user = ["--userspec", self.user] if self.user else []
        inside = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', self.workdir, *argv]
        command = ["chroot", *user, str(self.folder), *inside]
        status = subprocess.run(command, env={**self.environment, **more}).returncode
        if status not in statuses:
            raise RunError(f"It ended with status {status}.")

    def _copy(self, source: Path, target: str) -> None:
        place = self._find(target)
        if target.endswith(("/", ".")) and not source.is_dir():
            place = place / source.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, place)

    def _find(self, path: str) -> Path:
        return self.folder / os.path.normpath(os.path.join(self.workdir, path)).lstrip("/")

    def _expand(self, value: str) -> str:
        return _VARIABLE.sub(lambda match: {**self.arguments, **self.environment}.get(match[1], ""), value)
