"""An export of any type of weights, and a folder that transformers 4 reads in the same sense."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, AutoTokenizer

from lightning_med.checkpoints.reading import read_checkpoint
from lightning_med.export.checkpoint_export import export_checkpoint
from lightning_med.export.export_kind import ExportKind
from lightning_med.export.hf_folder import write_hf_folder
from lightning_med.export.transformers4_names import describe_rope
from lightning_med.export.weight_types import check_overflow
from lightning_med.utils.errors import InputError, RunError
from scripts.runtimes.comparison import Comparison
from tests import tiny
from tests.export.models import LLAMA, LLAMA3_ROPE, MODELS, find_python, make_model, read_json

TRANSFORMERS4 = find_python("no_such_module", "LIGHTNING_MED_TRANSFORMERS4_PYTHON")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.finished_run(tmp_path_factory.getbasetemp() / "tiny") / "checkpoints" / "last.ckpt"


def export(*options: object, checkpoint: Path, output: Path) -> tuple[int, str, str]:
    return tiny.command("export", "--checkpoint", checkpoint, "--output", output, *options)


# ------------------------------------------------------------------ types of weights


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_are_rounded_once_and_named_in_the_config(checkpoint: Path, tmp_path: Path, dtype: str) -> None:
    status, _, err = export("--dtype", dtype, checkpoint=checkpoint, output=tmp_path / "x")
    assert (status, err) == (0, ""), err
    network = AutoModelForCausalLM.from_pretrained(tmp_path / "x")
    assert network.dtype == getattr(torch, dtype)
    assert read_json(tmp_path / "x" / "config.json")["dtype"] == dtype
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, read_checkpoint(checkpoint)["state_dict"][f"model.{name}"].to(weight.dtype))
    assert f"weights in {dtype}" in (tmp_path / "x" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("weight", "refused", "accepted"),
    [(7e4, ["float16"], ["float32", "bfloat16", "q8_0"]), (1e7, ["float16", "q8_0"], ["float32", "bfloat16"])],
)
def test_a_type_that_cannot_hold_a_weight_is_refused(weight: float, refused: list[str], accepted: list[str]) -> None:
    network = torch.nn.Linear(3, 2)
    network.weight.data[1, 2] = -weight
    for name in refused:
        with pytest.raises(InputError, match="weight has a weight of"):
            check_overflow(network, name)
    for name in accepted:
        check_overflow(network, name)


def test_a_refused_export_writes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["model.transformer.ln_f.weight"][0] = 65520.0  # rounds to infinity
    torch.save(content, tmp_path / "large.ckpt")
    for options in (["--dtype", "float16"], ["--format", "gguf", "--dtype", "float16"]):
        status, _, err = export(*options, checkpoint=tmp_path / "large.ckpt", output=tmp_path / "a" / "x")
        assert (status, len(err.strip().splitlines())) == (2, 2 + ("unverified" in err)), err
        assert "ln_f.weight has a weight of 65520" in err
    assert [path.name for path in tmp_path.iterdir()] == ["large.ckpt"]


# ------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--quantize", "q8_0"], "for --format gguf alone"),
        (["--format", "gguf", "--quantize", "q2_k"], "q2_k"),
        (["--format", "gguf", "--quantize", "q8_0", "--dtype", "bfloat16"], "both say how"),
        (["--format", "onnx"], "onnx"),
        (["--dtype", "int8"], "int8"),
    ],
)
def test_options_that_cannot_be_honoured_are_two_lines(
    checkpoint: Path, tmp_path: Path, options: list[str], named: str
) -> None:
    status, _, err = export(*options, checkpoint=checkpoint, output=tmp_path / "x")
    assert (status, len(err.strip().splitlines())) == (2, 2), err
    assert named in err
    assert not list(tmp_path.iterdir())


def test_the_same_is_refused_from_python() -> None:
    for kind in ({"format": "onnx"}, {"dtype": "int8"}, {"quantize": "q8_0"}, {"format": "gguf", "quantize": "q4"}):
        with pytest.raises(InputError):
            ExportKind(**kind)  # type: ignore[arg-type]


def test_a_gguf_folder_is_made_and_replaced_as_any_export(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "my export"
    status, out, err = export("--format", "gguf", checkpoint=checkpoint, output=output)
    assert (status, err) == (0, "")
    assert f"ollama create lightning-med -f '{output}/Modelfile'" in out
    files = {"model.gguf", "Modelfile", "README.md"}
    assert {path.name for path in output.iterdir()} == files
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "library_name: gguf" in card
    assert "ollama run" in card
    assert "not for clinical use" in card
    before = (output / "model.gguf").read_bytes()
    status, _, err = export("--format", "gguf", "--quantize", "q8_0", checkpoint=checkpoint, output=output)
    assert (status, len(err.strip().splitlines())) == (2, 2)
    assert (output / "model.gguf").read_bytes() == before
    quantized = ("--format", "gguf", "--quantize", "q8_0", "--overwrite")
    assert export(*quantized, checkpoint=checkpoint, output=output)[0] == 0
    assert len((output / "model.gguf").read_bytes()) < len(before)
    assert export("--overwrite", checkpoint=checkpoint, output=output)[0] == 0
    assert not files - {"README.md"} & {path.name for path in output.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["my export"]


def test_files_of_others_in_a_replaced_folder_are_kept(checkpoint: Path, tmp_path: Path) -> None:
    assert export("--format", "gguf", checkpoint=checkpoint, output=tmp_path / "x")[0] == 0
    (tmp_path / "x" / "notes.txt").write_text("mine")
    (tmp_path / "x" / "photos").mkdir()
    assert export("--overwrite", checkpoint=checkpoint, output=tmp_path / "x")[0] == 0
    assert (tmp_path / "x" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "x" / "photos").is_dir()
    assert not (tmp_path / "x" / "model.gguf").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_someone_elses_modelfile_is_never_replaced(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "Modelfile").write_text("FROM llama3\n")
    status, _, err = export("--format", "gguf", "--overwrite", checkpoint=checkpoint, output=tmp_path)
    assert (status, len(err.strip().splitlines())) == (2, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["Modelfile"]


def test_a_full_disk_is_found_before_anything_is_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2**20}))
    with pytest.raises(RunError, match="MiB are free"):
        export_checkpoint(checkpoint, tmp_path / "deep" / "x", kind=ExportKind("gguf"))
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ transformers 4


def write(name: str, folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    family, fields, tokenizer = MODELS[name]
    model = make_model(family, {**fields, **changes}, tokenizer, words=("[PHONE]",))
    write_hf_folder(model, folder, "float32", lambda *_: None)
    return folder


def test_the_tokenizer_has_a_class_of_both_generations(tmp_path: Path) -> None:
    folder = write("llama", tmp_path / "x")
    assert read_json(folder / "tokenizer_config.json")["tokenizer_class"] == "PreTrainedTokenizerFast"
    loaded = AutoTokenizer.from_pretrained(folder)
    assert (
        loaded.backend_tokenizer.to_str()
        == make_model(*MODELS["llama"], words=("[PHONE]",)).tokenizer.backend_tokenizer.to_str()
    )


@pytest.mark.parametrize(
    ("family", "rope", "expected"),
    [
        ("llama", {"rope_type": "default", "rope_theta": 5e3}, {"rope_theta": 5e3}),
        (
            "llama",
            LLAMA3_ROPE,
            {"rope_theta": 5e5, "rope_scaling": {k: v for k, v in LLAMA3_ROPE.items() if k != "rope_theta"}},
        ),
        (
            "stablelm",
            {"rope_type": "default", "rope_theta": 5e3, "partial_rotary_factor": 0.5},
            {"rope_theta": 5e3, "partial_rotary_factor": 0.5},
        ),
        (
            "gpt_neox",
            {"rope_type": "default", "rope_theta": 5e3, "partial_rotary_factor": 0.5},
            {"rotary_emb_base": 5e3, "rotary_pct": 0.5},
        ),
        (
            "gemma3_text",
            {
                "sliding_attention": {"rope_type": "default", "rope_theta": 7e2},
                "full_attention": {"rope_type": "linear", "rope_theta": 7e4, "factor": 3.0},
            },
            {"rope_theta": 7e4, "rope_local_base_freq": 7e2, "rope_scaling": {"rope_type": "linear", "factor": 3.0}},
        ),
    ],
)
def test_rotary_positions_have_the_names_of_transformers_4_too(
    family: str, rope: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    config = CONFIG_MAPPING[family](**{**tiny.LLAMA, "rope_parameters": rope})
    assert describe_rope(config) == expected
    config.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**read_json(path), **expected}))
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == config.rope_parameters


def test_networks_without_rotary_positions_get_no_names() -> None:
    assert describe_rope(CONFIG_MAPPING["gpt2"]()) == {}


def test_a_tokenizer_that_transformers_would_replace_is_refused() -> None:
    """transformers 5 loads its own tokenizer for a network of Qwen2's kind, whatever the folder names."""
    model = make_model("qwen2", LLAMA, "smollm2")
    with pytest.raises(InputError, match="Qwen2Tokenizer"):
        ExportKind().check(model)
    ExportKind(format="gguf").check(model)  # llama.cpp takes what the file says
    ExportKind(adapter=True).check(replace(model, card={"settings": {}}))  # so does transformers without a network


@pytest.mark.parametrize("adapter", [False, True])
def test_a_folder_whose_tokenizer_would_be_another_is_refused(monkeypatch: pytest.MonkeyPatch, adapter: bool) -> None:
    model = replace(make_model("llama", LLAMA, "smollm2"), card={"settings": {}})
    ExportKind(adapter=adapter).check(model)
    other = make_model("llama", LLAMA, "llama3").tokenizer
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *args, **options: other)
    with pytest.raises(InputError, match="would load its own"):
        ExportKind(adapter=adapter).check(model)


def test_frozen_weights_of_an_adapters_base_need_not_fit_its_type() -> None:
    model = replace(make_model("llama", LLAMA, "smollm2"), card={"settings": {}})
    model.network.requires_grad_(False)
    model.network.lm_head.weight.data[0, 0] = 7e4
    ExportKind(dtype="float16", adapter=True).check(model)
    with pytest.raises(InputError, match="a weight of 70000"):
        ExportKind(dtype="float16").check(model)
    model.network.lm_head.weight.requires_grad_(True)
    with pytest.raises(InputError, match="a weight of 70000"):
        ExportKind(dtype="float16", adapter=True).check(model)


@pytest.mark.skipif(TRANSFORMERS4 is None, reason="LIGHTNING_MED_TRANSFORMERS4_PYTHON names no interpreter")
@pytest.mark.parametrize("name", [name for name in MODELS if name != "qwen2"])
def test_transformers_4_gives_the_same_ids_and_logits(name: str, tmp_path: Path) -> None:
    comparison = Comparison(write(name, tmp_path / "x"), ["My ear rings since 12 days?", "Is 38 °C a fever?"], 1)
    comparison.compare_transformers4(str(TRANSFORMERS4))
    assert not comparison.findings.faults
    assert len(comparison.findings.figures) == 7
