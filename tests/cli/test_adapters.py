"""A run with an adapter goes the whole way of the command; its checkpoints hold the adapter alone and need its base."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM

from lightning_med.checkpoints.reading import read_checkpoint
from tests import tiny
from tests.cli.helpers import read_json, run_refused, write_small_config
from tests.cli.test_bases import compute_loss, save_base

LORA = "{r: 4, alpha: 8, dropout: 0.1}"


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fit of four steps, for reading only; its base lies beside `lightning_logs`."""
    place = tmp_path_factory.mktemp("adapted")
    save_base(place)
    config = write_small_config(folder, place, max_steps=4)
    status, out, err = tiny.command("fit", "--config", config, *options(place), cwd=place)
    assert status == 0, err
    assert "of them trained" in out
    return place / "lightning_logs" / "small" / "version_0"


def options(place: Path) -> list[Any]:
    model = ["--model.from_scratch", "null", "--model.base", place / "llama", "--model.lora", LORA, "--model.lr", 0.02]
    return [*model, "--model.gradient_checkpointing", "true", "--checkpoint.every_n_train_steps", 1]


def get_last(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


def test_a_checkpoint_holds_the_adapter_and_not_the_base(run: Path) -> None:
    state = read_checkpoint(get_last(run))["state_dict"]
    assert state
    assert all(".lora_" in name for name in state)
    base = (run.parents[2] / "llama" / "model.safetensors").stat().st_size
    assert sum(value.nbytes for value in state.values()) < base / 2


def test_test_and_export_are_those_of_transformers(run: Path, folder: Path, tmp_path: Path) -> None:
    results = tmp_path / "test.json"
    status, _, err = tiny.command("test", "--ckpt_path", get_last(run), "--output", results, cwd=tmp_path)
    assert status == 0, err
    merged, adapter = tmp_path / "merged", tmp_path / "adapter"
    for output, more in ((merged, []), (adapter, ["--adapter"])):
        status, _, err = tiny.command("export", "--checkpoint", get_last(run), "--output", output, *more, cwd=tmp_path)
        assert status == 0, err
    found = read_json(results)
    assert found["test/loss"] == pytest.approx(compute_loss(folder, merged), rel=1e-5)
    assert found["test/base_loss"] == pytest.approx(compute_loss(folder, run.parents[2] / "llama"), rel=1e-5)
    assert found["test/loss"] < found["test/base_loss"]
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        expected = AutoModelForCausalLM.from_pretrained(merged)(ids).logits
        logits = AutoPeftModelForCausalLM.from_pretrained(adapter).eval()(ids).logits
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    status, out, err = tiny.command("respond", "--model", merged, "My tongue is sore.", cwd=tmp_path)
    assert (status, bool(out)) == (0, True), err
    assert "without its base" in run_refused("respond", "--model", adapter, "My tongue is sore.", cwd=tmp_path)


def test_a_resumed_fit_has_the_same_adapter(run: Path, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run.parents[2] / "llama", tmp_path / "llama")
    config = write_small_config(folder, tmp_path, max_steps=4)
    begun = tmp_path / "lightning_logs" / "small" / "version_0"
    shutil.copytree(run, begun, symlinks=True)
    for file in begun.glob("checkpoints/*"):
        if not file.name.startswith("step-3"):
            file.unlink()
    status, _, err = tiny.command("fit", "--config", config, *options(tmp_path), "--resume", "auto", cwd=tmp_path)
    assert status == 0, err
    expected, found = (read_checkpoint(get_last(place)) for place in (run, begun))
    assert found["global_step"] == 4
    assert all(torch.equal(value, found["state_dict"][name]) for name, value in expected["state_dict"].items())
    moments = [content["optimizer_states"][0]["state"] for content in (expected, found)]
    assert all(torch.equal(state["exp_avg"], moments[1][key]["exp_avg"]) for key, state in moments[0].items())


def test_another_base_is_refused_and_a_moved_one_is_found(run: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = save_base(tmp_path / "other", num_hidden_layers=2, intermediate_size=56)
    moved = tmp_path / "moved"
    shutil.copytree(run.parents[2] / "llama", moved)
    for verb in ("test", "predict"):
        words = [verb, "--ckpt_path", get_last(run), "--output", tmp_path / "results", "--model.base"]
        assert "is not the base of this adapter" in run_refused(*words, other, cwd=tmp_path)
    status, _, err = tiny.command(*words, moved, "--trainer.limit_predict_batches", 1, cwd=tmp_path)
    assert status == 0, err
    export = ["export", "--checkpoint", get_last(run), "--output", tmp_path / "export", "--base"]
    assert "is not the base of this adapter" in run_refused(*export, other, cwd=tmp_path)
    assert "needs its base" in run_refused(*export, tmp_path / "gone", cwd=tmp_path)
    status, _, err = tiny.command(*export, moved, cwd=tmp_path)
    assert status == 0, err


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (["--model.lora", "{targets: [q_prj]}"], "Did you mean q_proj"),
        (["--model.lora", "{rank: 4}"], "no setting rank"),
        (["--model.lora", "null", "--model.freeze", "['*.embed.*']"], "freeze: no weight"),
        (["--model.base_dtype", "nf4"], "needs a GPU"),
        (["--model.base_dtype", "bf16"], "needs mixed precision"),
        (["--model.from_scratch", "{n_layer: 1}"], "lora needs a base"),
    ],
)
def test_wrong_settings_are_refused_before_the_work(
    run: Path, folder: Path, tmp_path: Path, changes: list[str], what: str
) -> None:
    config = write_small_config(folder, tmp_path)
    place = run.parents[2]
    words = ["fit", "--config", config, *options(place), "--data.cache_dir", tmp_path / "no_cache", *changes]
    assert what in run_refused(*words, cwd=tmp_path)


def test_an_adapters_checkpoint_needs_its_own_settings(run: Path, folder: Path, tmp_path: Path) -> None:
    words = ["validate", "--ckpt_path", get_last(run), "--output", tmp_path / "results", "--model.lora", "null"]
    assert "holds an adapter" in run_refused(*words, cwd=tmp_path)
    assert "no adapter" in run_refused(
        "export", "--checkpoint", fit_whole(folder, tmp_path), "--output", tmp_path / "x", "--adapter", cwd=tmp_path
    )


@pytest.mark.parametrize("changes", [["--model.lora.alpha", 1], ["--model.lora.rslora", "true"]])
def test_evaluation_with_another_scale_is_refused(run: Path, tmp_path: Path, changes: list[Any]) -> None:
    words = ["validate", "--ckpt_path", get_last(run), "--output", tmp_path / "results", *changes]
    assert "was trained with" in run_refused(*words, cwd=tmp_path)


def test_a_resumed_fit_with_another_scale_is_refused(run: Path, folder: Path, tmp_path: Path) -> None:
    config, place = write_small_config(folder, tmp_path), run.parents[2]
    words = ["fit", "--config", config, *options(place), "--model.lora", "{r: 4, alpha: 2}", "--ckpt_path"]
    assert "was trained with alpha" in run_refused(*words, get_last(run), "--trainer.max_steps", 6, cwd=tmp_path)


def test_the_folder_of_an_adapter_names_the_base_where_it_is(run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(run.parents[2] / "llama", moved)
    words = ["export", "--checkpoint", get_last(run), "--output", "adapter", "--adapter", "--base", "moved"]
    status, _, err = tiny.command(*words, cwd=tmp_path)
    assert status == 0, err
    assert read_json(tmp_path / "adapter" / "adapter_config.json")["base_model_name_or_path"] == str(moved)


def test_files_of_others_stay_when_an_adapters_folder_is_replaced(run: Path, tmp_path: Path) -> None:
    words = ["export", "--checkpoint", get_last(run), "--output", "out"]
    for options in (["--adapter"], ["--adapter", "--overwrite"], ["--overwrite"]):
        status, _, err = tiny.command(*words, *options, cwd=tmp_path)
        assert status == 0, err
        (tmp_path / "out" / "adapter_notes.txt").write_text("mine")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"adapter_notes.txt", "model.safetensors"} <= names
    assert not {"adapter_model.safetensors", "adapter_config.json"} & names


def fit_whole(folder: Path, tmp_path: Path) -> Path:
    config = write_small_config(folder, tmp_path)
    status, _, err = tiny.command("fit", "--config", config, cwd=tmp_path)
    assert status == 0, err
    return tmp_path / "lightning_logs" / "small" / "version_0" / "checkpoints" / "last.ckpt"
