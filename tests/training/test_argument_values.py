"""Every argument of the two modules is used as it is given, or refused in two lines, also from Python."""

from __future__ import annotations

import inspect
import json
import math
from contextlib import suppress
from typing import Any

import pytest

from lightning_med.data.module import DialogueDataModule
from lightning_med.training.module import DialogueLM
from lightning_med.utils.errors import InputError
from tests import tiny

VALUES = (None, "", "x", -1, 0, 1, 10**30, 2.5, -0.5, math.nan, math.inf, True, False, [], ["x"], [1], [None], {})
VALUES += ({"x": 1}, {"x": True}, {1: 2}, [{}], (1,), {"x"}, b"x", object())  # type: ignore[assignment]
SOUND = {
    DialogueDataModule: {"tokenizer": "train", "max_length": 64, "vocab_size": 300},
    DialogueLM: {"base": None, "from_scratch": dict(tiny.NETWORK)},
}
ARGUMENTS = [(kind, name) for kind in SOUND for name in list(inspect.signature(kind).parameters)]
# What each argument of these cannot be, of the values above; `null` where it has another default.
WRONG: dict[str, list[Any]] = {
    "lr": [None, "", "x", -1, -0.5, math.nan, math.inf, True, [], {}],
    "weight_decay": [None, "x", -1, math.nan, True, [1]],
    "question_weight": [None, -1, 2.5, math.nan, math.inf],
    "freeze": ["", "x", 1, [1], [None], {}, True],
    "lora": ["", "x", 1, [], True],
    "from_scratch": ["x", 1, [], True],
    "base_dtype": ["", "x", 1, True],
    "compile": [None, "", "x", 1, 0],
    "max_new_tokens": [None, -1, 0, 2.5, True, math.inf],
    "sampling_seed": [None, -1, 2.5, "x"],
    "source": [None, "", 1, [1], [None], {}, b"x", True],
    "tokenizer": [None, "", 1, [], True],
    "check_against": ["", 1, [1], [None], {}, [""], True],
    "system_prompt": [None, 1, [], True],
    "cache_dir": ["", 1, True],
    "question_column": [None, "", 1, []],
    "messages_column": ["", 1, []],
    "group_column": ["", 1, []],
    "vocab_size": [None, -1, 0, 1, 10, 256, 2.5, True, "x"],
    "max_length": [None, -1, 0, 2.5, True, "x"],
    "eval_max_length": [None, -1, 0, 2.5, "x"],
    "batch_tokens": [None, -1, 0, 2.5, True, "x", math.nan],
    "tokens_per_step": [-1, 0, 2.5, True, "x"],
    "num_workers": [None, -1, 2.5, True, "x"],
    "test_fraction": [None, -1, 1, math.nan, True, "x"],
    "val_fraction": [None, -0.5, 1, math.inf, "x"],
    "rules": ["x", [], {"x": 1}, {"x": True}, {1: 2}],
    "private_data": [None, "x", 1, 0],
    "on_bad_row": [None, "", "x", True],
    "seed": [None, 2.5, 10**30, True, "x"],
    "add_tokens": ["x", 1, [1], [None], {}, [""]],
    "prompt_format": ["", "x", 1, True],
}


@pytest.mark.parametrize(("kind", "name"), ARGUMENTS, ids=[name for _, name in ARGUMENTS])
def test_a_value_is_used_or_refused(kind: type, name: str) -> None:
    for value in VALUES:
        with suppress(InputError):
            made = kind(**{**SOUND[kind], name: value})
            assert made.hparams[name] == value or (value == 1 and made.hparams[name] is True)
            json.dumps({key: entry for key, entry in made.hparams.items() if key == name})  # a checkpoint can hold it


@pytest.mark.parametrize("name", WRONG)
def test_a_value_of_another_kind_or_out_of_range_is_refused(name: str) -> None:
    kind = next(kind for kind, argument in ARGUMENTS if argument == name)
    for value in WRONG[name]:
        with pytest.raises(InputError, match=name.replace("val_fraction", "fraction")):
            print(name, value, kind(**{**SOUND[kind], name: value}).hparams[name])
    assert kind(**SOUND[kind]).hparams is not None


def test_a_model_without_a_name_and_without_fields_is_refused() -> None:
    for base in (None, ""):
        for fields in (None, {}):
            with pytest.raises(InputError):
                DialogueLM(base=base, from_scratch=fields)
