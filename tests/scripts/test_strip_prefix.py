"""strip_prefix makes a folder that loads, with the same weights, or none."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from lightning_med.model.causal_lm import load_base
from lightning_med.utils.errors import InputError
from tests import tiny

Strip = Callable[..., int]


@pytest.fixture
def strip(script: Callable[[str], ModuleType]) -> Strip:
    return lambda *argv: script("strip_prefix").main([str(word) for word in argv])


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, torch.Tensor]:
    """Those of a Llama in three files, in the folder `base` beside a tokenizer's file."""
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    network = LlamaForCausalLM(LlamaConfig(vocab_size=50, **sizes))
    network.to(torch.bfloat16).save_pretrained(tmp_path / "base", max_shard_size=6_000)
    assert len(list((tmp_path / "base").glob("*.safetensors"))) > 1
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    return network.state_dict()


def rename(folder: Path, change: Callable[[str], str]) -> None:
    for path in folder.glob("*.safetensors"):
        save_file({change(name): weight for name, weight in load_file(path).items()}, path, {"format": "pt"})
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"] = {change(name): file for name, file in index["weight_map"].items()}
    path.write_text(json.dumps(index))


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "model._orig_mod.", "base_model.model."])
def test_the_command_of_the_refusal_makes_a_base_that_loads(
    strip: Strip, tmp_path: Path, weights: dict[str, torch.Tensor], prefix: str
) -> None:
    rename(tmp_path / "base", lambda name: prefix + name)
    with pytest.raises(InputError) as refused:
        load_base(str(tmp_path / "base"), 0.0)
    command = shlex.split(refused.value.hint.split(": ", 1)[1])
    assert command[:2] == ["python", "scripts/strip_prefix.py"]
    assert strip(*command[2:]) == 0
    loaded = load_base(command[3], 0.0).state_dict()
    assert tiny.is_equal({name: weight.bfloat16() for name, weight in loaded.items()}, weights)
    assert (tmp_path / "base-stripped" / "tokenizer.json").read_text() == "{}"


def test_a_wrapper_is_taken_out_wherever_it_stands(
    strip: Strip, tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    rename(tmp_path / "base", lambda name: re.sub(r"(layers\.\d)", r"\1._orig_mod", name))
    assert strip(tmp_path / "base", tmp_path / "out", "--prefix", "_orig_mod.") == 0
    assert load_base(str(tmp_path / "out"), 0.0).state_dict().keys() == weights.keys()


@pytest.mark.parametrize(
    ("names", "prefix", "said"),
    [
        (lambda name: name, "module.", "No weight in"),
        (lambda name: f"module.other.{name}", "module.", "lacks 21 of 21 weights"),
        (lambda name: f"module.{name}", "module", "does not end in a dot"),
        (lambda name: f"_a.{name}", "_a._a.", "No weight in"),
    ],
)
def test_names_that_do_not_fit_are_refused(
    strip: Strip,
    tmp_path: Path,
    weights: dict[str, torch.Tensor],
    capsys: pytest.CaptureFixture[str],
    names: Callable[[str], str],
    prefix: str,
    said: str,
) -> None:
    rename(tmp_path / "base", names)
    before = sorted(tmp_path.iterdir())
    assert strip(tmp_path / "base", tmp_path / "out", "--prefix", prefix) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 2
    assert sorted(tmp_path.iterdir()) == before


def test_two_weights_of_one_name_and_damaged_files_are_refused(
    strip: Strip, tmp_path: Path, weights: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(iter((tmp_path / "base").glob("*.safetensors")))
    whole = path.read_bytes()
    save_file({"module.a": torch.ones(2), "a": torch.ones(2)}, path)
    assert strip(tmp_path / "base", tmp_path / "out", "--prefix", "module.") == 2
    assert "two weights have the same name" in capsys.readouterr().err
    path.write_bytes(whole[:-4])
    assert strip(tmp_path / "base", tmp_path / "out", "--prefix", "module.") == 2
    assert f"{path} cannot be read" in capsys.readouterr().err
    for output in (tmp_path / "base", tmp_path / "base" / "out", tmp_path / "no" / "out"):
        assert strip(tmp_path / "base", output, "--prefix", "module.") == 2
    assert strip(tmp_path, tmp_path / "out", "--prefix", "module.") == 2
    assert [file.name for file in tmp_path.iterdir()] == ["base"]
