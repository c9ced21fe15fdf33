"""Export to a Hugging Face folder: the same model, readable by any program, complete or absent."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, pipeline

from lightning_med.data.module import DialogueDataModule
from lightning_med.export.checkpoint_export import export_checkpoint
from lightning_med.export.export_kind import ExportKind
from lightning_med.export.hf_folder import SETTINGS
from lightning_med.inference.generation import Decoding, generate_answers
from lightning_med.training.module import DialogueLM
from lightning_med.utils.errors import InputError
from lightning_med.utils.signals import Interrupted
from tests import tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "tiny"


@pytest.fixture(scope="session")
def checkpoint(folder: Path) -> Path:
    return tiny.finished_run(folder) / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="session")
def exported(folder: Path) -> Path:
    return tiny.finished_export(folder)


@pytest.fixture(scope="module")
def data(folder: Path, checkpoint: Path) -> DialogueDataModule:
    return tiny.data_module(folder)


def test_the_folder_contains_what_transformers_reads(exported: Path) -> None:
    names = {path.name for path in exported.iterdir()}
    assert names >= {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "README.md",
        SETTINGS,
    }
    assert not [name for name in names if name.endswith((".bin", ".pt", ".ckpt", ".pkl", ".py"))]
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in [exported, *exported.iterdir()])


def test_the_settings_name_what_the_export_was_made_from(
    exported: Path, checkpoint: Path, data: DialogueDataModule
) -> None:
    settings = json.loads((exported / SETTINGS).read_text(encoding="utf-8"))
    assert settings["checkpoint"] == checkpoint.resolve().name
    assert settings["checkpoint"] == f"step-{settings['step']}.ckpt"
    assert settings["checkpoint_digest"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert settings["data_fingerprint"] == data.prepared.fingerprint
    assert settings["base"] is None


def test_the_weights_are_those_of_the_checkpoint(exported: Path, checkpoint: Path) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(exported).eval()
    stored = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert {p.dtype for p in theirs.parameters()} == {torch.float32}
    for name, weight in theirs.state_dict().items():
        assert torch.equal(weight, stored[f"model.{name}"])
    ids = torch.randint(300, (3, 40), generator=torch.Generator().manual_seed(0))
    eager = AutoModelForCausalLM.from_pretrained(exported, attn_implementation="eager").eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, eager(ids).logits, rtol=1e-4, atol=1e-5)
    assert "lightning_med" not in json.dumps(theirs.config.to_dict())  # our attention exists only in this package


def test_the_logits_equal_those_of_the_trained_network(exported: Path, checkpoint: Path) -> None:
    ours = DialogueLM.load_from_checkpoint(checkpoint).network.eval()
    theirs = AutoModelForCausalLM.from_pretrained(exported).eval()
    ids = torch.randint(300, (3, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, ours(ids).logits, rtol=1e-4, atol=1e-5)


def test_the_chat_template_gives_the_ids_of_training(exported: Path, data: DialogueDataModule) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported)
    store = data.store("train")
    for row in range(10):
        text = store.texts(row)
        question = {"role": "user", "content": text["question"]}
        reply = {"role": "assistant", "content": text["answer"]}
        ids = tokenizer.apply_chat_template([question, reply], return_dict=True)["input_ids"]
        assert ids == store.input_ids(row).tolist()
        prompt = tokenizer.apply_chat_template([question], add_generation_prompt=True, return_dict=True)["input_ids"]
        assert prompt == ids[: len(prompt)]
        assert tokenizer.decode(ids[len(prompt) :]) == f" {text['answer']}{tokenizer.eos_token}"


def test_a_pipeline_answers_chat_messages(exported: Path) -> None:
    generate: Any = pipeline("text-generation", str(exported), device="cpu")
    messages = [{"role": "user", "content": "My tongue is sore, what can I do?"}]
    (result,) = generate(messages)
    assert result["generated_text"][:-1] == messages
    assert result["generated_text"][-1]["role"] == "assistant"


def test_the_generation_config_contains_the_decoding_settings(exported: Path, data: DialogueDataModule) -> None:
    """`generate` without arguments starts with the answer of `generate_answers`."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(exported).eval(), AutoTokenizer.from_pretrained(exported)
    assert model.generation_config.max_new_tokens == 12
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    messages = [{"role": "user", "content": "My tongue is sore, what can I do?"}]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    output = model.generate(**inputs)
    text = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    (ours,) = generate_answers(model, data.encoder, [messages[0]["content"]], Decoding(max_new_tokens=12))
    assert text.strip().startswith(ours)


def test_the_model_card_names_data_results_and_limits(exported: Path, data: DialogueDataModule) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    assert "not for clinical use" in card
    assert "never a substitute for care" in card
    splits = data.prepared.report["splits"]
    assert f"Training {splits['train']:,}, validation {splits['validation']:,}, test {splits['test']:,}" in card
    assert data.prepared.fingerprint in card
    assert tiny.SYSTEM in card
    assert "val/perplexity" in card
    assert not re.search(r"\{\w+\}", card)  # no unfilled field


# ------------------------------------------------------------------ complete or absent


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("exists", [False, True])
def test_a_failed_export_leaves_the_folder_as_it_was(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, exists: bool
) -> None:
    output = tmp_path / "export"
    if exists:
        export_checkpoint(checkpoint, output)
    before = read_files(tmp_path)

    def fail(self: Any, folder: Any, *args: Any, **kwargs: Any) -> None:
        (Path(folder) / "model.safetensors").write_bytes(b"half of it")
        raise error

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", fail)
    with pytest.raises(type(error)):
        export_checkpoint(checkpoint, output, overwrite=True)
    assert read_files(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == (["export"] if exists else [])


def test_a_folder_is_replaced_only_when_asked(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "export"
    export_checkpoint(checkpoint, output)
    (output / "README.md").write_text("my own words")
    with pytest.raises(InputError, match="exists") as raised:
        export_checkpoint(checkpoint, output)
    assert "--overwrite" in raised.value.hint
    assert (output / "README.md").read_text() == "my own words"
    assert export_checkpoint(checkpoint, output, overwrite=True) == output
    assert "not for clinical use" in (output / "README.md").read_text()
    assert [path.name for path in output.parent.iterdir()] == ["export"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_files_is_never_replaced(checkpoint: Path, tmp_path: Path, overwrite: bool) -> None:
    output = tmp_path / "photos"
    output.mkdir()
    (output / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(InputError, match="photos"):
        export_checkpoint(checkpoint, output, overwrite=overwrite)
    assert read_files(tmp_path) == {"photos/cat.jpg": b"meow"}


def add_others(output: Path) -> dict[str, bytes]:
    """Puts files of the owner's into an export, and returns them by their path in it."""
    others = {
        "notes.txt": b"mine",
        "model_of_mine.safetensors": b"mine too",
        ".git/HEAD": b"ref",
        "photos/a/b.jpg": b"x",
    }
    for name, content in others.items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_bytes(content)
    (output / "link").symlink_to("nowhere")
    return others


@pytest.mark.parametrize(("first", "second"), [("hf", "hf"), ("hf", "gguf"), ("gguf", "hf")])
def test_files_of_others_stay_when_an_export_is_replaced(
    checkpoint: Path, tmp_path: Path, first: Literal["hf", "gguf"], second: Literal["hf", "gguf"]
) -> None:
    output = export_checkpoint(checkpoint, tmp_path / "export", kind=ExportKind(format=first))
    others = add_others(output)
    export_checkpoint(checkpoint, output, overwrite=True, kind=ExportKind(format=second))
    fresh = export_checkpoint(checkpoint, tmp_path / "fresh", kind=ExportKind(format=second))
    assert read_files(output).keys() == {*read_files(fresh), *others}
    assert {name: content for name, content in read_files(output).items() if name in others} == others
    assert os.readlink(output / "link") == "nowhere"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "fresh"]


def test_at_no_step_of_a_replacement_is_a_file_lost(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal or an error at any rename leaves the earlier folder; a kill leaves each file in one of two folders."""
    output = export_checkpoint(checkpoint, tmp_path / "export")
    add_others(output)
    before = read_files(tmp_path)
    replace = os.replace
    count = 0

    def interrupt(source: Any, target: Any) -> None:
        nonlocal count
        found = list(read_files(tmp_path).values())
        assert all(content in found for content in before.values())
        count += 1
        if count == last:
            raise Interrupted(signal.SIGTERM)
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupt)
    for last in range(1, 20):
        count = 0
        try:
            export_checkpoint(checkpoint, output, overwrite=True)
        except Interrupted:
            assert read_files(tmp_path) == before, last
        else:
            break
    assert last > 5
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_an_empty_folder_may_be_filled(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    export_checkpoint(checkpoint, tmp_path / "export", overwrite=True)
    assert (tmp_path / "export" / SETTINGS).is_file()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_never_replaced(checkpoint: Path, tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "export").write_text("a file")
    with pytest.raises(InputError, match="export"):
        export_checkpoint(checkpoint, tmp_path / "export", overwrite=overwrite)
    assert (tmp_path / "export").read_text() == "a file"


def test_an_output_that_cannot_be_written_is_an_input_error(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="file"):
        export_checkpoint(checkpoint, tmp_path / "file" / "export")


@pytest.mark.slow
def test_the_script_takes_the_same_arguments(checkpoint: Path, exported: Path, tmp_path: Path) -> None:
    script = str(ROOT / "scripts" / "export_to_hf.py")
    argv = [sys.executable, script, "--checkpoint", str(checkpoint), "--output", "export"]
    result = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "next: lightning-med respond --model export" in result.stdout
    assert read_files(tmp_path / "export") == read_files(exported)
    again = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert again.returncode == 2
    assert len(again.stderr.splitlines()) == 2


def test_an_export_that_cannot_be_put_in_place_leaves_the_earlier_one(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = export_checkpoint(checkpoint, tmp_path / "export")
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    replace = os.replace

    def fail(source: Path, target: Path) -> None:
        if Path(target) == output and any(Path(source).glob("*.safetensors")) and not moved:
            moved.append(source)
            raise OSError("no")
        replace(source, target)

    moved: list[Path] = []
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        export_checkpoint(checkpoint, output, overwrite=True)
    assert moved
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
