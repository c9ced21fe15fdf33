"""The Dockerfile as data: stages and their instructions. It knows the instructions that ours uses and no others."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from lightning_med.utils.errors import InputError

KNOWN = ("ARG", "FROM", "ENV", "WORKDIR", "RUN", "COPY", "USER", "EXPOSE", "HEALTHCHECK", "CMD")


@dataclass(frozen=True)
class Instruction:
    """A line of the Dockerfile, continued ones joined.

    Attributes:
        name: In capitals.
        text: What follows it.
    """

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """What follows it as words: of a JSON list or of a shell's line."""
        return json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)


@dataclass
class Stage:
    """A stage.

    Attributes:
        name: That later ones call it by.
        base: The stage or the image that it begins with.
        instructions: After `FROM`.
    """

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def list_copies(self) -> list[tuple[str, list[str], str]]:
        """Returns each `COPY`: the stage that it copies from, empty for the context, the sources and the target."""
        copies = []
        for instruction in self.instructions:
            if instruction.name == "COPY":
                words = instruction.words
                stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
                copies.append((stage, words[:-1], words[-1]))
        return copies


def read_stages(path: Path) -> dict[str, Stage]:
    """Returns the stages of a Dockerfile by name; the last one is built where none is named.

    Raises:
        InputError: There is an instruction that is not known here.
    """
    text = re.sub(r"\\\n", "", re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.M))
    stages: dict[str, Stage] = {}
    for line in filter(str.strip, text.splitlines()):
        name, _, rest = line.strip().partition(" ")
        if name not in KNOWN:
            raise InputError(f"{path}: {name} is not known here.", f"Known: {', '.join(KNOWN)}.")
        if name == "FROM":
            base, _, stage = rest.partition(" AS ")
            current = stages[stage] = Stage(stage, base)
        elif stages:
            current.instructions.append(Instruction(name, rest.strip()))
    return stages


def list_needed(stages: dict[str, Stage], target: str) -> list[Stage]:
    """Returns the stages that a target needs, in the order of the file, itself the last."""
    needed, waiting = set(), [target]
    while waiting:
        stage = stages[name := waiting.pop()]
        needed.add(name)
        waiting += [name for name in (stage.base, *(copy[0] for copy in stage.list_copies())) if name in stages]
    return [stage for name, stage in stages.items() if name in needed]


def find_last(stages: dict[str, Stage], target: str, name: str) -> Instruction | None:
    """Returns the instruction that holds in a target: the last of that name in it or in what it begins with."""
    place: str | None = target
    while place in stages:
        for instruction in reversed(stages[place].instructions):
            if instruction.name == name:
                return instruction
        place = stages[place].base
    return None
