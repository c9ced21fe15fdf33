"""`lightning-med completion`: a script that completes verbs, options, choices and file names in a shell."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS = ("bash", "zsh", "tcsh")
_CHOICES: dict[str, tuple[str, ...]] = {"shell": SHELLS, "machine": ("gpu", "cpu", "cluster"), "resume": ("auto",)}
_CHOICES["trainer.accelerator"] = ("auto", "cpu", "gpu")
_FILES = ("config", "ckpt_path", "checkpoint", "data", "data.source", "data.check_against", "output", "base", "train")
_FOLDERS = ("model", "model.base", "data.tokenizer", "data.cache_dir", "trainer.default_root_dir")
_SHOWN = 100  # characters of an option's help
_DESCRIPTION = """Print a script that completes verbs, options, choices and file names. It holds the options of this
release: print it again after an update. It starts no Python when the tab key is pressed, and knows neither models of
the Hub nor columns of a table.

  bash   lightning-med completion bash > ~/.local/share/bash-completion/completions/lightning-med
  zsh    lightning-med completion zsh > ~/.zfunc/_lightning-med   # a folder of $fpath, before compinit
  tcsh   lightning-med completion tcsh > ~/.lightning-med.tcsh    # and `source ~/.lightning-med.tcsh` in ~/.tcshrc"""


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    shell = make_parser().parse_args(argv[1:]).shell
    if shell not in SHELLS:
        raise InputError(f"There is no completion for {shell}.", f"Use it in one of these shells: {', '.join(SHELLS)}.")
    import shtab

    with show_progress("Reading the options") as progress:
        progress("of all verbs, some seconds", 0, 0)
        script = shtab.complete(_make_tree(), shell)
    print(script)
    return 0


def make_parser() -> Parser:
    """Returns the parser of `completion`."""
    parser = Parser("lightning-med completion", _DESCRIPTION)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", metavar="SHELL", help=" or ".join(SHELLS))
    return parser


def _make_tree() -> argparse.ArgumentParser:
    """Returns a parser of the whole command, plain enough for shtab."""
    from lightning_med.cli.command import VERBS

    tree = argparse.ArgumentParser("lightning-med", description="Fine-tune a small language model.")
    tree.add_argument("--version", action="store_true", help="versions of this package and of its libraries")
    verbs = tree.add_subparsers(dest="verb")
    for verb, options in _list_verbs():
        parser = verbs.add_parser(verb, help=VERBS[verb][1])
        for action in options:
            _add_copy(parser, action)
    return tree


def _list_verbs() -> Iterator[tuple[str, list[argparse.Action]]]:
    """Yields each verb with its options."""
    import importlib

    from lightning_med.cli.command import VERBS
    from lightning_med.cli.parsing.settings_list import find_verb_parser
    from lightning_med.cli.trainer_command import make_settings_parser

    settings = make_settings_parser()
    for verb, (module, _) in VERBS.items():
        parser = find_verb_parser(settings, verb) or importlib.import_module(module).make_parser()
        yield verb, parser._actions


def _add_copy(parser: argparse.ArgumentParser, action: argparse.Action) -> None:
    """Adds an option of a verb, with what completes its value."""
    from shtab import DIRECTORY, FILE

    names = [name for name in action.option_strings if not name.endswith(("+", ".help"))]  # rarely typed, and many
    if isinstance(action, argparse._HelpAction) or (action.option_strings and not names):
        return
    text = " ".join((action.help or "").partition("\n\n")[0].split())[:_SHOWN].replace("%%", "%").replace("%", "%%")
    if action.nargs == 0:
        parser.add_argument(*names, action="store_true", help=text)
        return
    copy = parser.add_argument(
        *(names or [action.dest]), nargs=_find_count(action), choices=_find_choices(action), help=text
    )
    place = str(action.metavar or "")
    if action.dest in _FOLDERS or place.startswith("DIR"):
        copy.complete = DIRECTORY  # type: ignore[attr-defined]
    elif action.dest in _FILES or "FILE" in place or action.type is Path:
        copy.complete = FILE  # type: ignore[attr-defined]


def _find_count(action: argparse.Action) -> str | int | None:
    return action.nargs if action.nargs in ("+", "*", "?") else None


def _find_choices(action: argparse.Action) -> list[str] | None:
    """Returns the words that complete a value, `None` where there are none to choose from."""
    from lightning_med.cli.parsing.type_words import list_alternatives, list_choices

    if action.choices or action.dest in _CHOICES:
        return [str(choice) for choice in action.choices or _CHOICES[action.dest]]
    kinds = list(list_alternatives(getattr(action, "_typehint", None)))
    words = list_choices(getattr(action, "_typehint", None)) + (["true", "false"] if bool in kinds else [])
    return words or None
