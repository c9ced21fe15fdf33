"""Classes that settings name, such as callbacks and optimizers, and the arguments given to them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

from lightning_med.cli.parsing.given_settings import Given
from lightning_med.cli.parsing.nearest import find_nearest, suggest
from lightning_med.cli.parsing.settings_list import Setting, SettingsList
from lightning_med.utils.errors import InputError, describe_error

_NOT_GIVEN = ("self", "params", "optimizer")  # arguments that the program passes
_MANY = 12  # classes, too many for one line
_PUBLIC = ("torch.optim", "lightning.", "lightning_med.")
_CheckValue = Callable[[Given, Setting, jsonargparse.ArgumentParser], None]


@dataclass
class _Spec:
    name: str
    given: Given  # where the class is named
    arguments: list[Given] = field(default_factory=list)


class ClassArguments:
    """The classes named for one setting and what is given to them.

    Args:
        setting: It takes objects of classes.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.specs: list[_Spec] = []
        self.stray: list[Given] = []  # arguments before any class
        self.others: list[Given] = []  # values that name no class, for instance false

    def add(self, given: Given) -> None:
        """Adds a class, a list of them, or an argument of the last one."""
        part = given.key.removeprefix(self.setting.key).lstrip(".").removeprefix("init_args").lstrip(".")
        if part == "class_path":
            self.specs.append(_Spec(str(given.value), given))
        elif part:
            target = self.specs[-1].arguments if self.specs else self.stray
            target.append(Given(part, given.value, given.file, given.is_word))
        else:
            value = _read(given)
            for one in value if isinstance(value, list) else [value]:
                self._add_one(given, one)

    def _add_one(self, given: Given, value: Any) -> None:
        if isinstance(value, dict) and "class_path" in value:
            arguments = value.get("init_args") or {}
            parts = arguments.items() if isinstance(arguments, dict) else ()
            listed = [Given(str(name), part, given.file) for name, part in parts]
            self.specs.append(_Spec(str(value["class_path"]), given, listed))
        elif isinstance(value, dict):
            target = self.specs[-1].arguments if self.specs else self.stray
            target += [Given(str(name), part, given.file) for name, part in value.items()]
        elif isinstance(value, str) and not self._takes_text(value):
            self.specs.append(_Spec(value, given))
        else:
            self.others.append(Given(given.key, value, given.file))

    def _takes_text(self, value: str) -> bool:
        return self.setting.accepts(value, True) and _find_class(value, self.setting.classes) is None

    def check(self, check_value: _CheckValue) -> None:
        """Refuses a class that there is not, and arguments that it does not take or lacks.

        Args:
            check_value: Refuses a value that a setting does not take.

        Raises:
            InputError: There is such a thing.
        """
        key = self.setting.key
        if self.stray:
            raise InputError(
                f"{self._name_argument(self.stray[0])} is given to no class.",
                f"Name the class before it: --{key} CLASS"
                if self.stray[0].file is None
                else f"Name it: {key}: {{class_path: CLASS}}",
            )
        for spec in self.specs:
            self._check_spec(spec, check_value)
        for given in self.others:
            parser = jsonargparse.ArgumentParser()
            parser.add_argument(f"--{key}", type=self.setting.typehint)
            check_value(given, self.setting, parser)

    def _check_spec(self, spec: _Spec, check_value: _CheckValue) -> None:
        kind = self._load(spec)
        parser = jsonargparse.ArgumentParser()
        parser.add_class_arguments(
            kind, fail_untyped=False, skip=set(_NOT_GIVEN) & set(inspect.signature(kind).parameters)
        )
        settings = SettingsList(parser)
        known = [*settings.values, *settings.sections]
        for given in spec.arguments:
            name = self._name_argument(given)
            if given.key not in known and not settings.find_owner(given.key):
                listed = f"It has {', '.join(known)}." if known else "It has none."
                prefix = f"--{self.setting.key}." if given.file is None else ""
                raise InputError(
                    f"{name} is no argument of {kind.__name__}.", suggest(given.key, known, listed, prefix)
                )
            if given.key in settings.values:
                try:
                    check_value(given, settings.values[given.key], parser)
                except InputError as error:
                    raise InputError(error.what.replace(given.place, name, 1), error.hint) from error
        there = {given.key.partition(".")[0] for given in spec.arguments}
        for name in _list_required(kind):
            if name not in there:
                on_file = spec.given.file is not None
                hint = f"init_args: {{{name}: VALUE}}" if on_file else f"--{self.setting.key}.{name} VALUE"
                raise InputError(f"{spec.given.place}: {kind.__name__} needs {name}.", f"Give {hint}")

    def _name_argument(self, given: Given) -> str:
        if given.file is None:
            return f"--{self.setting.key}.{given.key}"
        return f"{given.file}: {self.setting.key}: {given.key}"

    def _load(self, spec: _Spec) -> type:
        bases = self.setting.classes
        kind = _find_class(spec.name, bases)
        module, _, leaf = spec.name.rpartition(".")
        if kind is None and not (module and hasattr(_import(module), leaf)):
            raise self._explain_missing(spec)
        if kind is None or not any(issubclass(kind, base) for base in bases):
            raise InputError(
                f"{spec.given.place}: {spec.name} is not of the kind {' or '.join(base.__name__ for base in bases)}.",
                _say_known(bases),
            )
        return kind

    def _explain_missing(self, spec: _Spec) -> InputError:
        bases = self.setting.classes
        module, _, name = spec.name.rpartition(".")
        known = _list_known(bases)
        what = f"{spec.given.place}: there is no class {spec.name}."
        if near := find_nearest(name, known):
            kind = known[near]
            path = f"{module}.{near}" if getattr(_import(module), near, None) is kind else f"{kind.__module__}.{near}"
            return InputError(what, f"Did you mean {path if module else near}?")
        if module and isinstance(reason := _import(module), Exception):
            return InputError(what, f"Its module was not loaded: {describe_error(reason, 200)}.")
        return InputError(what, f"{_say_known(bases)} One of your own is named with its module: package.module.Class")


def _read(given: Given) -> Any:
    """Returns a value as plain data: a word is read, and so is a file that it names."""
    value = given.value
    if isinstance(value, str):
        try:
            value = yaml.safe_load(value) if given.is_word else value
            path = Path(value) if isinstance(value, str) and Path(value).suffix in (".yaml", ".yml", ".json") else None
            return yaml.safe_load(path.read_text(encoding="utf-8")) if path and path.is_file() else value
        except (yaml.YAMLError, OSError, ValueError):
            return value
    return value


def _find_class(name: str, bases: list[type]) -> type | None:
    if "." not in name:
        return _list_known(bases).get(name) or next((one for one in _walk(bases) if one.__name__ == name), None)
    module, _, leaf = name.rpartition(".")
    kind = getattr(_import(module), leaf, None)
    return kind if isinstance(kind, type) else None


def _import(module: str) -> Any:
    """Returns a module, or the error of its import."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # whatever it does when it is loaded
        return error


def _list_known(bases: list[type]) -> dict[str, type]:
    """Returns the public classes of torch, Lightning and ours that are one of the bases, by name."""
    public = (kind for kind in _walk(bases) if f"{kind.__module__}.".startswith(_PUBLIC))
    return {kind.__name__: kind for kind in public if not kind.__name__.startswith("_") and kind not in bases}


def _say_known(bases: list[type]) -> str:
    names, module = list(_list_known(bases)), bases[0].__module__.rpartition(".")[0]
    return f"There are {', '.join(names)}." if len(names) < _MANY else f"There are those of {module}."


def _walk(bases: list[type]) -> Iterator[type]:
    for base in bases:
        yield base
        yield from _walk(base.__subclasses__())


def _list_required(kind: type) -> list[str]:
    """Returns the arguments that have no default and that the program does not pass."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(kind).parameters.values()
    needed = [one.name for one in parameters if one.default is one.empty and one.kind in kinds]
    return [name for name in needed if name not in _NOT_GIVEN]
