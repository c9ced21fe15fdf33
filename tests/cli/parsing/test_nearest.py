"""Misspelt names: the right one is named, and none where none is near."""

from __future__ import annotations

import random
import string

import pytest

from lightning_med.cli.parsing.nearest import find_nearest
from lightning_med.cli.parsing.parser import SettingsParser
from lightning_med.cli.parsing.settings_list import SettingsList, find_verb_parser


def misspell(name: str, rng: random.Random, edits: int) -> str:
    """Returns a name with letters of its last part inserted, dropped, replaced or swapped."""
    section, dot, word = name.rpartition(".")
    for _ in range(edits):
        at, letter = rng.randrange(len(word)), rng.choice(string.ascii_lowercase)
        changed = {
            "insert": word[:at] + letter + word[at:],
            "drop": word[:at] + word[at + 1 :],
            "replace": word[:at] + letter + word[at + 1 :],
            "swap": word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :],
        }
        word = changed[rng.choice(list(changed))] or word
    return f"{section}{dot}{word}"


@pytest.mark.slow
@pytest.mark.parametrize(("edits", "share"), [(1, 0.97), (2, 0.95)])
def test_the_nearest_of_a_misspelt_option_is_the_right_one(parser: SettingsParser, edits: int, share: float) -> None:
    fit = find_verb_parser(parser, "fit")
    assert fit is not None
    names = [name for name in SettingsList(fit).names if len(name.rpartition(".")[2]) > 3]
    rng = random.Random(0)
    pairs = [(name, misspell(name, rng, edits)) for name in names for _ in range(8)]
    pairs = [(name, wrong) for name, wrong in pairs if wrong not in names]
    right = [find_nearest(wrong, names) == name for name, wrong in pairs]
    assert sum(right) / len(right) >= share


@pytest.mark.parametrize(
    ("name", "known", "nearest"),
    [
        ("lr", ["model.lr", "model.base"], "model.lr"),
        ("trainer.lr", ["model.lr", "trainer.devices"], "model.lr"),
        ("max_epoch", ["trainer.max_epochs", "trainer.min_epochs"], "trainer.max_epochs"),
        ("seed", ["data.seed", "other.seed"], "data.seed"),
        ("modle.lr", ["model.lr", "model.lora"], "model.lr"),
        ("Model.LR", ["model.lr"], "model.lr"),
        ("gravity", ["model.lr", "trainer.devices"], None),
        ("model.gravity", ["model.lr", "model.base"], None),
        ("x", ["a", "bc"], "a"),
        ("anything", [], None),
    ],
)
def test_sections_may_be_missing_or_wrong(name: str, known: list[str], nearest: str | None) -> None:
    assert find_nearest(name, known) == nearest
