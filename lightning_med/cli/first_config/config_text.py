"""The text of a first config: YAML with comments."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import yaml

from lightning_med.cli.first_config.base_choice import Base
from lightning_med.cli.first_config.data_choice import Data
from lightning_med.cli.first_config.machine import Machine
from lightning_med.cli.first_config.settings import Sections, Setting
from lightning_med.cli.first_config.training_kind import Training


def describe_fit(data: Data, base: Base, machine: Machine, training: Training) -> str:
    """Returns what a config is for, in one line."""
    what = "A small model from random weights" if base.name is None else f"{base.name}, {training.text}"
    return f"{what}, on {data.source}; {machine.text}"


def format_config(sections: Sections, purpose: str, path: Path, fetch: str) -> str:
    """Returns the text of a config.

    Args:
        sections: Its settings.
        purpose: The first line.
        path: Of the file, for the command in it.
        fetch: The name by which the base is fetched before; empty where it need not be.
    """
    lines = [f"# {_make_printable(purpose)}."]
    lines.append(f"#   lightning-med fit --config {_make_printable(shlex.quote(str(path)))}")
    if fetch:
        lines.append(f"# Before: lightning-med fetch {fetch}")
    lines.append("# Written by `lightning-med init`; docs/runs.md says more of each setting.")
    for name, settings in sections.items():
        lines.append(f"{name}:")
        for setting in settings:
            lines += _format_setting(setting)
    return "\n".join(lines) + "\n"


def _format_setting(setting: Setting) -> list[str]:
    comment = f" # {setting.comment}" if setting.comment else ""
    if not isinstance(setting.value, list):
        return [f"  {setting.name}: {_format_value(setting.value)}{comment}"]
    lines = [f"  {setting.name}:{comment}"]
    for entry in setting.value:
        parts = [f"{key}: {_format_value(value)}" for key, value in entry.items()]
        lines += [f"    - {parts[0]}", *(f"      {part}" for part in parts[1:])]
    return lines


def _format_value(value: Any) -> str:
    """Returns a value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _make_printable(text: str) -> str:
    """Returns a text for a comment, which takes no line breaks and no control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
