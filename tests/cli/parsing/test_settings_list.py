"""What is relied on of jsonargparse, and the words for its types."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from lightning_med.cli.parsing import settings_list
from lightning_med.cli.parsing.parser import SettingsParser
from lightning_med.cli.parsing.settings_list import SettingsList, find_verb_parser
from lightning_med.cli.parsing.type_words import describe_type, list_classes


def test_the_private_names_exist_in_this_release(parser: SettingsParser) -> None:
    installed = metadata.version("jsonargparse")
    note = f"jsonargparse {installed}, written for {settings_list.WRITTEN_FOR}"
    fit = find_verb_parser(parser, "fit")
    assert fit is not None, note
    typed = next(action for action in fit._actions if action.dest == "model.lr")
    there = {"parser": parser, "verb": fit, "action": typed}
    for kind, names in settings_list.PRIVATE_NAMES.items():
        for name in names:
            assert hasattr(there[kind], name), f"{kind}.{name}: {note}"
    listed = SettingsList(fit)
    assert listed.values["model.lr"].typehint is float, note
    assert listed.sections >= {"model", "data", "trainer", "checkpoint", "samples"}, note
    assert listed.values["optimizer"].classes == [torch.optim.Optimizer], note


@pytest.mark.parametrize(
    ("typehint", "words"),
    [
        (int, "a whole number"),
        (int | float | None, "a number or null"),
        (bool | Literal["warn"] | None, "true, false, warn or null"),
        (Literal["epoch", "step"], "epoch or step"),
        (str | Path | None, "text or null"),
        (list[str] | None, "a list, each text or null"),
        (dict[str, Any], "a mapping as in '{key: value}'"),
        (list[Callback] | Callback, "a list, each a class of the kind Callback or a class of the kind Callback"),
        (float | torch.Tensor, "a number"),
        (object, "another value"),
    ],
    ids=str,
)
def test_types_are_described_in_plain_words(typehint: Any, words: str) -> None:
    assert describe_type(typehint) == words


def test_classes_are_found_in_lists_and_unions() -> None:
    assert list_classes(Logger | Iterable[Logger] | bool | None) == [Logger]
    assert list_classes(list[Callback] | None) == [Callback]
    assert list_classes(str | dict[str, int] | list[int]) == []
