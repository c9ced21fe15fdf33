"""Checks of config files: they may name classes of Lightning, of torch.optim and of this package, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lightning_med.utils.errors import InputError

# Public classes that run nothing that their settings name. A name without dots can only be one that is loaded already.
_KNOWN = re.compile(
    r"(lightning\.pytorch\.(callbacks|loggers|profilers|strategies|plugins)|lightning_med)(\.\w+)*"
    r"|lightning\.pytorch\.cli\.ReduceLROnPlateau|torch\.optim(\.lr_scheduler|\.swa_utils)?\.[A-Z]\w*"
)
_SECTIONS = ("trainer", "optimizer", "lr_scheduler")  # they take objects of classes that they name
_PARTS = (*((name,) for name in _SECTIONS), ("config",))
_CALLS = ("LambdaCallback",)  # runs any function by its name
_PLACES = ("dirpath", "save_dir", "root_dir", "filename", "dir", "name", "version", "prefix", "sub_dir")
_IMPORTED = re.compile(r"[A-Za-z_]\w*(\.\w+)+")


def check_configs(argv: list[str]) -> None:
    """Checks the config files of a command before anything that they name is imported.

    Options on the command line itself are the user's own and are not checked.

    Raises:
        InputError: A file names a class that is not Lightning's or ours, or a place outside the runs' folder.
    """
    for before, word in zip(["", *argv], argv, strict=False):
        name, equals, given = word.partition("=")
        option, value = (name, given) if equals and name.startswith("-") else (before, word)
        is_config = option in ("--config", "-c")
        place = option.lstrip("-").removesuffix("+").split(".") if option.startswith("-") and not is_config else ()
        try:
            _check_file(Path(value), tuple(place), is_config)
        except RecursionError as error:
            raise InputError(f"{value} names itself, or files that name it.", "Name other files in it.") from error


def _check_file(path: Path, place: tuple[str, ...] = (), is_config: bool = False) -> None:
    """Checks a file that the parser may read: a config under any name, a part under a usual one or in our sections."""
    if path.suffix not in (".yaml", ".yml", ".json") and not is_config and place[:1] not in _PARTS:
        return
    try:
        if not path.is_file():
            return
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return  # the parser says what is wrong with it
    for key, named in _list_classes(settings, path.parent, place):
        if key.rpartition(".")[2] in _PLACES:
            if Path(named).is_absolute() or ".." in Path(named).parts:
                raise InputError(
                    f"{path}: {key} {named} leads out of the folder of the runs.",
                    "Name a place within it, or the folder itself: --trainer.default_root_dir DIR",
                )
        elif not (_KNOWN.fullmatch(named) or named.isidentifier()) or named.endswith(_CALLS):
            raise InputError(
                f"{path}: {key} names {named}, no class of Lightning, torch.optim or ours; nothing of it was loaded.",
                "If it is your own, name it on the command line: --trainer.callbacks+=my_package.MyCallback",
            )


def _list_classes(settings: Any, folder: Path, place: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yields what would be imported or written to: each `class_path`, each dotted name where the trainer takes objects,
    and each of their paths.
    """
    if isinstance(settings, dict):
        for name, value in settings.items():
            if name in ("class_path", "_class_path", "_instantiator"):
                yield ".".join((*place, name)), str(value)
            else:
                yield from _list_classes(value, folder, (*place, str(name)))
    elif isinstance(settings, list):
        for value in settings:
            yield from _list_classes(value, folder, place)
    elif isinstance(settings, str):
        for base in (folder, Path()):
            _check_file(base / settings, place)  # a part of the settings in a file of its own
        if not set(_SECTIONS).isdisjoint(place) and (place[-1] in _PLACES or _names_a_class(settings, place[-1])):
            yield ".".join(place), settings


def _names_a_class(value: str, key: str) -> bool:
    return key != "default_root_dir" and _IMPORTED.fullmatch(value) is not None
