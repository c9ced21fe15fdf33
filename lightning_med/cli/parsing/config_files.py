"""Reading of config files, for messages: what is no config is refused with the place of the fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lightning_med.cli.parsing.nearest import find_nearest
from lightning_med.utils.errors import InputError, describe_error

_EXAMPLE = "Settings stand in sections, for instance model: {lr: 1e-4}"


def read_config(word: str, option: str, folder: Path = Path()) -> tuple[dict[Any, Any], Path | None]:
    """Returns the settings of a config file, and the file; `None` for settings in the word itself (`'{lr: 1}'`).

    Args:
        word: A path, or settings as YAML.
        option: Which names it, for the message.
        folder: Paths are relative to it.

    Raises:
        InputError: There is no such file, it is no mapping of settings in YAML, or a key stands there twice.
    """
    if "://" in word.partition("\n")[0].partition("{")[0]:
        raise InputError(f"{option} takes a file, not an address: {word}.", "Download it first, and read it.")
    path = folder / word
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError:  # settings, too long for a path
        is_folder = exists = False
    if is_folder:
        raise InputError(f"{option} {word} is a folder.", f"Name a file in it: {option} {Path(word) / 'config.yaml'}")
    if exists:
        return _parse(_read_text(path), str(path)), path
    if "{" in word or ":" in word:
        return _parse(word, option), None
    hint = f"Looked for in {path.parent.absolute()}."
    others = {file.stem.replace(".", "-"): file.name for file in path.parent.glob("*.y*ml")}
    if near := find_nearest(path.stem.replace(".", "-"), others):
        hint = f"Did you mean {Path(word).with_name(others[near])}?"
    raise InputError(f"{option} {word}: there is no such file.", hint)


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        kind = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "another encoding"
        raise InputError(f"{path} is not UTF-8 text, but {kind}.", "Save it as UTF-8.") from error


def _parse(text: str, name: str) -> dict[Any, Any]:
    try:
        settings = yaml.load(text, _Loader)
    except _DuplicateKey as error:
        raise InputError(f"{name}: {error} stands there twice, again in line {error.line}.", "Keep one.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        if "'\\t'" in str(error.problem) or (mark is not None and _has_tab(text, mark.line)):
            raise InputError(f"{name}{line} is indented with a tab.", "YAML takes spaces alone.") from error
        hint = f"{error.problem or error.context}: check brackets, quotes, colons and indents up to there."
        raise InputError(f"{name}{line} is not valid YAML.", hint[:1].upper() + hint[1:]) from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{name} is not valid YAML.", describe_error(error, 200)) from error
    if isinstance(settings, dict):
        return settings
    kind = "empty" if settings is None else "a list" if isinstance(settings, list) else "one value"
    raise InputError(f"{name} is {kind}, not a mapping of settings.", _EXAMPLE)


def _has_tab(text: str, line: int) -> bool:
    lines = text.splitlines()
    return line < len(lines) and "\t" in lines[line][: len(lines[line]) - len(lines[line].lstrip())]


class _DuplicateKey(Exception):
    def __init__(self, key: str, line: int) -> None:
        super().__init__(key)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, of which YAML's readers take the last one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in getattr(node, "original", node.value):
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise _DuplicateKey(key.value, key.start_mark.line + 1)
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: Any) -> None:
        if not hasattr(node, "original"):
            node.original = list(node.value)  # without what `<<` merges into it
        super().flatten_mapping(node)


# Dates stay text, as in jsonargparse.
yaml.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_str, _Loader)  # type: ignore[type-var]
