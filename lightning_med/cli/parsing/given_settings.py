"""What a command gives: the settings of its words and of the files that they name, in the order in which they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_med.cli.parsing.config_files import read_config
from lightning_med.cli.parsing.settings_list import SettingsList
from lightning_med.utils.errors import InputError

_ALONE = ("help", "h", "print_config")  # options without a value
_NUMBER = re.compile(r"-\.?\d.*")
MISSING = object()  # the value of an option that is the last word, or stands before another option


@dataclass(frozen=True)
class Given:
    """A setting as it is given.

    Attributes:
        key: With its section; a part that is no setting ends it.
        value: A word of the command line, or plain data of a file.
        file: In which it stands; `None` on the command line.
        is_word: Its value is a word, yet to be read.
    """

    key: str
    value: Any
    file: Path | None = None
    is_word: bool = False

    @property
    def place(self) -> str:
        """Where it stands, for a message."""
        return f"--{self.key}" if self.file is None else f"{self.file}: {self.key}"


def list_given(words: Sequence[str], settings: SettingsList) -> Iterator[Given]:
    """Yields the settings that the words after a verb give.

    Raises:
        InputError: A file cannot be read, or a word belongs to no option.
    """
    rest, before = list(words), ""
    while rest:
        word = rest.pop(0)
        if not _is_option(word):
            hint = f"{before or 'An option'} takes one value: quote several words; a list is '[a, b]'."
            raise InputError(f"{word!r} belongs to no option.", hint)
        before, equals, value = word.partition("=")
        key = before.lstrip("-").removesuffix("+")
        key = "config" if key == "c" else key
        given: Any = value if equals else MISSING
        if not equals and key not in _ALONE and rest and not _is_option(rest[0]):
            given = rest.pop(0)
        if key in _ALONE or key.endswith(".help"):
            continue
        if key == "config" and given is not MISSING:
            yield from _list_parts(*read_config(given, "--config"), settings)
        elif key in settings.sections and given is not MISSING and given != "null":
            content, file = read_config(given, f"--{key}")
            yield from _flatten(content, key, file, settings)
        else:
            yield Given(key, given, is_word=True)


def _list_parts(content: dict[Any, Any], file: Path | None, settings: SettingsList) -> Iterator[Given]:
    for key, value in content.items():
        yield from _flatten(value, str(key), file, settings)


def _flatten(value: Any, key: str, file: Path | None, settings: SettingsList) -> Iterator[Given]:
    """Yields the settings of a part of a file; a section may be in a file of its own."""
    key = key.removesuffix("+")
    is_section = any(name.startswith(f"{key}.") for name in settings.values) and key not in settings.values
    if key == "config" and isinstance(value, str):
        yield from _list_parts(*read_config(value, f"{file}: config", file.parent if file else Path()), settings)
    elif is_section and isinstance(value, dict):
        for name, part in value.items():
            yield from _flatten(part, f"{key}.{name}", file, settings)
    elif is_section and isinstance(value, str) and value:
        content, part_file = read_config(value, f"{file}: {key}", file.parent if file else Path())
        yield from _flatten(content, key, part_file or file, settings)
    else:
        yield Given(key, value, file)


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and " " not in word.partition("=")[0] and not _NUMBER.fullmatch(word)
