"""Writes the reference of commands and settings from what `--help` shows.

    python scripts/make_reference.py --output FOLDER

The pages begin as `docs/reference/commands.md` and `docs/reference/settings.md` do; a marker there stands for lists.
These are not in the repository, so they are never out of date: `make docs` writes them into its copy of docs/.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from unittest import mock

from docs_site.options import Option, list_groups
from docs_site.options import escape_text as escape

from lightning_med.cli.command import VERBS
from lightning_med.cli.command import main as run_command
from lightning_med.utils.files import write_text

ROOT = Path(__file__).resolve().parents[1]
STUBS = ROOT / "docs" / "reference"
MARKERS = {"commands": "<!-- the verbs -->", "settings": "<!-- the settings -->", "configs": "<!-- the configs -->"}


def read_parser(verb: str) -> argparse.ArgumentParser:
    """Returns the parser whose help `lightning-med VERB --help` prints."""
    found: list[argparse.ArgumentParser] = []
    keep = mock.patch.object(argparse.ArgumentParser, "print_help", lambda parser, file=None: found.append(parser))
    with keep, suppress(SystemExit):  # as argparse leaves after a help
        run_command([verb, "--help"])
    return found[0]


def write_commands(parsers: dict[str, argparse.ArgumentParser]) -> str:
    """Returns a section for each verb: its usage and options, without the settings that it shares with others."""
    return "\n".join(line for verb, parser in parsers.items() for line in _describe_command(verb, parser, 2))


def _describe_command(name: str, parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    summary = VERBS[name][1] if name in VERBS else ""
    yield f"{'#' * level} {name}\n"
    yield escape(f"{summary[:1].upper()}{summary[1:]}.\n") if summary else ""
    yield f"```text\n{_format_usage(parser)}\n```\n"
    if parser.description and not parser.description.startswith(summary):
        yield escape(parser.description) + "\n"
    groups = list_groups(parser)
    for group in groups:
        if not group.section:
            yield from _describe_options(group.options, name.replace(" ", "-"))
    if shared := [f"[`--{group.section}.…`](settings.md#{group.section})" for group in groups if group.section]:
        yield f"And the settings {', '.join(shared)}.\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, inner in action.choices.items():
                yield from _describe_command(f"{name} {verb}", inner, level + 1)


def write_settings(parsers: dict[str, argparse.ArgumentParser]) -> str:
    """Returns a section for each group of settings: once what all its verbs share, apart what a verb alone has."""
    verbs: dict[str, dict[Option, list[str]]] = {}
    titles: dict[str, str] = {}
    for verb, parser in parsers.items():
        for group in list_groups(parser):
            for option in group.options if group.section else ():
                verbs.setdefault(group.section, {}).setdefault(option, []).append(verb)
                titles.setdefault(group.section, group.title)
    lines: list[str] = []
    for section, options in verbs.items():
        everybody = list(dict.fromkeys(verb for its in options.values() for verb in its))
        lines += [f"## {section}\n", escape(titles[section].partition(" ")[2].strip("()").capitalize()) + ".\n"]
        lines += [f"Of {', '.join(f'`{verb}`' for verb in everybody)}.\n"]
        for option, its in options.items():
            only = "" if its == everybody else f"Of {', '.join(f'`{verb}`' for verb in its)} alone."
            lines += _describe_options([option], only=only)
    return "\n".join(lines)


def write_configs(folder: Path) -> str:
    """Returns a table of the config files, each with the comment that it begins with."""
    lines = ["| config | for |", "|---|---|"]
    for path in sorted(folder.glob("*.yaml")):
        words = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                break
            words.append(f"`{line[1:].strip()}`" if line.startswith("#  ") else escape(line[1:].strip()))
        lines.append(f"| [`configs/{path.name}`](../../configs/{path.name}) | {' '.join(words)} |")
    return "\n".join(lines)


def _format_usage(parser: argparse.ArgumentParser) -> str:
    with mock.patch.dict(os.environ, {"COLUMNS": "90"}):
        return parser.format_usage().removeprefix("usage: ").strip()


def _describe_options(options: list[Option], prefix: str = "", only: str = "") -> Iterator[str]:
    """Yields the entries of a definition list; names are anchors, for instance `#--data.source`, `#fit--resume`."""
    for option in options:
        anchor = prefix + ("" if option.name.startswith("-") else "-") + re.sub(r"[^\w.+-]", "", option.name)
        rest = "".join(f", `{name}`" for name in option.names[1:])
        yield f"`{option.names[0]}`{{ #{anchor} }}{rest}" + (f" `{option.value}`" if option.value else "")
        facts = [
            f"Type: `{option.type}`." if option.type else "",
            f"Default: {_format_default(option.default)}." if option.default else "",
        ]
        text = escape(option.help).rstrip()
        sentence = text if not text or text.endswith((".", "?", "!")) else f"{text}."
        yield f":   {' '.join(filter(None, (sentence, *facts, only)))}\n"
        if option.classes:
            classes = "".join(f"\n        - `{name}`" for name in option.classes)
            yield f'    ??? note "Known classes"\n{classes}\n'


def _format_default(default: str) -> str:
    """Returns a default as code, or as text where it is said in words."""
    return escape(default) if " " in default and not default.startswith(("[", "{", "'", '"')) else f"`{default}`"


def write_reference(folder: Path) -> None:
    """Writes `commands.md` and `settings.md` into a folder."""
    parsers = {verb: read_parser(verb) for verb in VERBS}
    contents = {
        "commands": write_commands(parsers),
        "settings": write_settings(parsers),
        "configs": write_configs(ROOT / "configs"),
    }
    for page in ("commands", "settings"):
        text = (STUBS / f"{page}.md").read_text(encoding="utf-8")
        for name, marker in MARKERS.items():
            text = text.replace(marker, contents[name])
        write_text(folder / f"{page}.md", text)


def main(argv: list[str] | None = None) -> int:
    """Writes the reference; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the pages go")
    folder = parser.parse_args(argv).output
    if folder.resolve() == STUBS.resolve():
        parser.error(f"{STUBS} has the frames that the pages are made from; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_reference(folder)
    print(f"reference: {folder / 'commands.md'}, {folder / 'settings.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
