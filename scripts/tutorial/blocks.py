"""The commands of a Markdown page, in order, each with the output that the page shows.

A comment `<!-- check: … -->` before a fenced block says how it is treated:

- `skip`: the commands are not run.
- `status N`: the commands end with this status, not with 0.
- `type LINE | LINE`: these lines are typed in.
- `until ADDRESS`: the commands run in the background; they are ready when the address answers, and end with the
  section. Its port must be named in the commands: another one takes its place.
- `varies`, before a block of output: it is not compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_FENCE = re.compile(r"(`{3,})(\w*)")
_MARK = re.compile(r"<!-- check: (.*?) -->")
_COMMENT = re.compile(r"<!-- (?!check: ).*?-->", re.S)


@dataclass
class Step:
    """A block of commands.

    Attributes:
        line: Of the page, from 1, where the block begins.
        commands: The block's text.
        status: The exit status that is expected.
        typed: Standard input.
        address: Where a program in the background answers once it is ready; empty for commands that end.
        shown: Lines of output that the page shows.
        section: Number of the section, from 0; what runs in the background ends with it.
    """

    line: int
    commands: str
    status: int = 0
    typed: str = ""
    address: str = ""
    shown: list[str] = field(default_factory=list)
    section: int = 0


def read_steps(text: str) -> list[Step]:
    """Returns the blocks `sh` of a page that are run; a block `text` is output of the block `sh` before it.

    Raises:
        ValueError: A mark is unknown or stands before no block, or a fence is not closed; with the line.
    """
    steps: list[Step] = []
    marks: dict[str, str] = {}
    marked = section = 0
    has_owner = False  # whether the last block of commands is run
    text = _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), text)
    lines = enumerate(text.splitlines(), start=1)
    for number, line in lines:
        if mark := _MARK.fullmatch(line.strip()):
            name, _, value = mark[1].partition(" ")
            marks[name], marked = value, number
        elif fence := _FENCE.match(line):
            body = _read_block(lines, fence[1], number)
            _check_marks(marks, fence[2], number)
            if fence[2] == "sh":
                has_owner = "skip" not in marks
                if has_owner:
                    steps.append(_make_step(number, body, marks, section))
            elif fence[2] == "text" and has_owner and "varies" not in marks:
                steps[-1].shown += body
            marks = {}
        elif marks and line.strip():
            raise ValueError(f"line {marked}: a mark stands before no block.")
        elif line.startswith("## "):
            section += 1
    if marks:
        raise ValueError(f"line {marked}: a mark stands before no block.")
    return steps


def _read_block(lines: enumerate[str], fence: str, start: int) -> list[str]:
    body: list[str] = []
    for _, line in lines:
        if line.rstrip() == fence:
            return body
        body.append(line)
    raise ValueError(f"line {start}: the block is not closed.")


def _check_marks(marks: dict[str, str], kind: str, number: int) -> None:
    known = {"sh": {"skip", "status", "type", "until"}, "text": {"varies"}}.get(kind, set())
    if unknown := " and ".join(sorted(set(marks) - known)):
        raise ValueError(f"line {number}: {unknown} is no mark of a block {kind or 'without kind'}.")


def _make_step(number: int, body: list[str], marks: dict[str, str], section: int) -> Step:
    typed = "".join(f"{line}\n" for line in marks["type"].split(" | ")) if "type" in marks else ""
    return Step(number, "\n".join(body), int(marks.get("status", 0)), typed, marks.get("until", ""), section=section)
