"""A run with a base's chat template, from the command to the exported folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from lightning_med.checkpoints.reading import KEY, read_card, read_checkpoint
from lightning_med.data.module import DialogueDataModule
from lightning_med.export.checkpoint_export import export_checkpoint
from lightning_med.export.hf_folder import SETTINGS
from lightning_med.export.model_card import make_model_card
from lightning_med.inference.generation import Decoding, generate_answers
from lightning_med.model.causal_lm import compute_nll
from lightning_med.serving.responder import Responder
from lightning_med.tokenization.prompts import Prompt, read_prompt
from lightning_med.training.checkpoint_contents import check_evaluation
from lightning_med.training.module import DialogueLM
from lightning_med.utils.errors import InputError
from scripts.bases.tokenizers import load_base
from tests import tiny

WORDS = ["[PHONE]", "tongue"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a run `chat` with Llama-3's template, whose end of a turn is not its end of a text."""
    folder = tmp_path_factory.mktemp("chat")
    load_base("llama3").save_pretrained(folder / "tokenizer")
    content = tiny.settings(folder, max_steps=3, callbacks=[])
    content["data"] |= {"tokenizer": str(folder / "tokenizer"), "add_tokens": WORDS, "system_prompt": "Be kind."}
    content["samples"] = {"questions": 1, "max_new_tokens": 4}
    (folder / "chat.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    status, _, err = tiny.command("fit", "--config", folder / "chat.yaml", cwd=folder)
    assert status == 0, err
    return folder


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Path:
    return folder / "lightning_logs" / "chat" / "version_0" / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def exported(folder: Path, checkpoint: Path) -> Path:
    return export_checkpoint(checkpoint, folder / "export")


def test_the_checkpoint_carries_the_segments(checkpoint: Path) -> None:
    card = read_card(read_checkpoint(checkpoint))
    prompt = read_prompt(card)
    assert (prompt.format, prompt.system, prompt.end) == ("chat", "Be kind.", "<|eot_id|>")
    assert card["system_prompt"] == "Be kind."


def test_the_export_ends_answers_as_it_learned_to(exported: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported)
    ids = tokenizer.convert_tokens_to_ids(["<|eot_id|>", "<|start_header_id|>", "<|end_of_text|>"])
    assert tokenizer.eos_token == "<|eot_id|>"
    assert json.loads((exported / "generation_config.json").read_text())["eos_token_id"] == ids
    settings = json.loads((exported / SETTINGS).read_text(encoding="utf-8"))
    assert read_prompt(settings).stops == ("<|start_header_id|>", "<|end_of_text|>")
    assert Responder.from_pretrained(exported).encoder.stops == ids
    assert "Prompt format `chat`" in (exported / "README.md").read_text(encoding="utf-8")
    assert len(tokenizer) == len(load_base("llama3")) + len(WORDS)
    assert tokenizer("a tongue [PHONE]").tokens()[-3:] == ["tongue", "Ġ", "[PHONE]"]


def test_test_measures_the_answers_as_transformers_does_on_the_export(
    folder: Path, checkpoint: Path, exported: Path
) -> None:
    for verb in ("test", "predict"):
        status, _, err = tiny.command(verb, "--ckpt_path", checkpoint, "--output", folder / f"{verb}.out", cwd=folder)
        assert status == 0, err
    network = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32).eval()
    tokenizer, total, count = AutoTokenizer.from_pretrained(exported), 0.0, 0
    for line in (folder / "predict.out").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        messages = [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row["reference"]}]
        rendered = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        ids, learned = torch.tensor(rendered["input_ids"]), torch.tensor(rendered["assistant_masks"]).bool()
        with torch.no_grad():
            logits = network(ids[None]).logits[0, :-1].double()
        total += float(cross_entropy(logits[learned[1:]], ids[1:][learned[1:]], reduction="sum"))
        count += int(learned.sum())
    assert json.loads((folder / "test.out").read_text())["test/loss"] == pytest.approx(total / count, rel=1e-5)


def test_answers_are_the_same_with_transformers_alone(exported: Path) -> None:
    responder, question = Responder.from_pretrained(exported), "My tongue is sore <|eot_id|>"
    responder.network.generation_config.no_repeat_ngram_size = None
    decoding = Decoding(max_new_tokens=6, no_repeat_ngram_size=0)
    plain = question.removesuffix(" <|eot_id|>")
    (ours,) = generate_answers(responder.network, responder.encoder, [plain], decoding)
    generate: Any = pipeline("text-generation", str(exported), device="cpu")
    messages = [{"role": "user", "content": plain}]
    (result,) = generate(messages, max_new_tokens=6, no_repeat_ngram_size=None)
    assert result["generated_text"][-1]["content"].strip() == ours
    ids = responder.encoder.encode_question(question, 99)
    assert ids.count(responder.encoder.stops[0]) == 2  # the system prompt's and the question's own


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--data.prompt_format", "plain"], "prompt"),
        (["--data.system_prompt", "Be brief."], "system prompt"),
        (["--data.add_tokens", '["[NAME]"]'], "[NAME]"),
    ],
)
def test_another_prompt_than_the_checkpoints_is_refused(
    folder: Path, checkpoint: Path, tmp_path: Path, options: list[str], named: str
) -> None:
    config = ("--config", folder / "chat.yaml", *options)
    status, _, err = tiny.command("test", *config, "--ckpt_path", checkpoint, cwd=tmp_path)
    assert (status, len(err.strip().splitlines())) == (2, 2)
    assert named in err
    assert "add_tokens" in options[0] or f"Leave {options[0]} out" in err
    shutil.copytree(folder / "lightning_logs", tmp_path / "lightning_logs", symlinks=True)
    resumed = (*config, "--name", "chat", "--resume", "auto", "--trainer.max_steps", "4")
    status, _, err = tiny.command("fit", *resumed, cwd=tmp_path)
    assert (status, len(err.strip().splitlines())) == (2, 2), err
    assert named in err


def test_files_of_before_are_read_as_plain(checkpoint: Path, tmp_path: Path, folder: Path) -> None:
    """Checkpoints and exports without segments have the system prompt alone."""
    run = tiny.finished_run(folder / "plain")
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    del content[KEY]["prompt"]
    for name in ("prompt", "prompt format"):
        del content[KEY]["identity"][name]
    torch.save(content, tmp_path / "old.ckpt")
    assert read_prompt(read_card(content)) == Prompt(tiny.SYSTEM)
    status, _, err = tiny.command("test", "--ckpt_path", tmp_path / "old.ckpt", "--output", "x.json", cwd=tmp_path)
    assert status == 0, err
    exported = export_checkpoint(tmp_path / "old.ckpt", tmp_path / "export")
    settings = json.loads((exported / SETTINGS).read_text(encoding="utf-8"))
    del settings["prompt"]
    (exported / SETTINGS).write_text(json.dumps(settings), encoding="utf-8")
    assert Responder.from_pretrained(exported).encoder.prompt == Prompt(tiny.SYSTEM)


def test_a_checkpoint_of_before_is_evaluated_as_it_was_trained(tmp_path: Path) -> None:
    """Its tokenizer has a token of the beginning, but its rows had none."""
    load_base("plain_gpt2_bos").save_pretrained(tmp_path / "tokenizer")
    content = tiny.settings(tmp_path, max_steps=2, callbacks=[])
    content["data"] |= {"tokenizer": str(tmp_path / "tokenizer")}
    (tmp_path / "bos.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    status, _, err = tiny.command("fit", "--config", tmp_path / "bos.yaml", cwd=tmp_path)
    assert status == 0, err
    new, old = tmp_path / "lightning_logs/bos/version_0/checkpoints/last.ckpt", tmp_path / "old.ckpt"
    saved = torch.load(new, weights_only=True)
    assert read_prompt(read_card(saved)) == Prompt(tiny.SYSTEM).begin_with("<s>")
    del saved[KEY]["prompt"]
    torch.save(saved, old)
    shutil.rmtree(tmp_path / "tokenizer")  # the checkpoint has it

    losses = []
    for checkpoint in (new, old):
        argv = ("test", "--ckpt_path", checkpoint, "--output", "x.json", "--data.cache_dir", tmp_path / "cache")
        for config in ((), ("--config", tmp_path / "bos.yaml")):
            status, _, err = tiny.command(*argv, *config, cwd=tmp_path)
            assert status == 0, err
        losses.append(json.loads((tmp_path / "x.json").read_text())["test/loss"])
    data = DialogueDataModule(**content["data"])
    data.use_tokenizer(saved[KEY]["tokenizer"], read_prompt(saved[KEY]))
    assert data.prepared.cached  # by the command
    beginning = data.prepared.tokenizer.convert_tokens_to_ids("<s>")
    assert not any(beginning in data.store("test").input_ids(row) for row in range(len(data.store("test"))))
    network = DialogueLM.load_from_checkpoint(old).network.eval()
    with torch.no_grad():
        each = torch.cat([compute_nll(network, batch)[1] for batch in data.test_dataloader()])
    assert losses[1] == pytest.approx(float(each.double().mean()), rel=1e-6)
    assert losses[0] != losses[1]


@pytest.mark.parametrize("prompt", ['{"end": 5}', '{"markers": [""]}', '{"new": 1}', "[]", "{", 5])
def test_a_malformed_prompt_is_two_lines(tmp_path: Path, folder: Path, prompt: Any) -> None:
    content = torch.load(tiny.finished_run(folder / "plain") / "checkpoints" / "last.ckpt", weights_only=True)
    content[KEY]["prompt"] = prompt
    torch.save(content, tmp_path / "bad.ckpt")
    for argv in (("test", "--ckpt_path"), ("export", "--output", tmp_path / "export", "--checkpoint")):
        status, _, err = tiny.command(*argv, tmp_path / "bad.ckpt", cwd=tmp_path)
        assert (status, len(err.strip().splitlines())) == (2, 2), err
        assert "prompt that can be read" in err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.ckpt"]
    trainer = SimpleNamespace(datamodule=tiny.data_module(folder / "plain"))
    with pytest.raises(InputError, match="prompt that can be read"):
        check_evaluation(trainer, content[KEY])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="prompt that can be read"):
        make_model_card(read_card(content), 1, "bad.ckpt")
    exported = tiny.finished_export(folder / "plain")
    shutil.copytree(exported, tmp_path / "export")
    settings = json.loads((exported / SETTINGS).read_text(encoding="utf-8"))
    (tmp_path / "export" / SETTINGS).write_text(json.dumps({**settings, "prompt": prompt}), encoding="utf-8")
    with pytest.raises(InputError, match="export has no prompt that can be read"):
        Responder.from_pretrained(tmp_path / "export")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--data.prompt_format", "llama"], "prompt_format"),
        (["--data.tokenizer", "train", "--data.prompt_format", "chat"], "no chat template"),
        (["--data.add_tokens", '["[NAME]", "[NAME]"]'], "'[NAME]' is empty or there twice"),
        (["--data.add_tokens", '[" "]'], "is empty or there twice"),
        (["--data.add_tokens", '["<|eot_id|>"]'], "has a token '<|eot_id|>'"),
        (["--data.add_tokens", '["user"]'], "part of the prompt"),
        (["--data.add_tokens", "5"], "add_tokens"),
        (["--data.system_prompt", "<|eot_id|>"], "spells the control token"),
        (["--data.tokenizer", "train", "--data.add_tokens", '["z"]'], "has a token 'z'"),
    ],
)
def test_settings_that_cannot_be_honoured_are_two_lines(
    folder: Path, tmp_path: Path, options: list[str], named: str
) -> None:
    status, out, err = tiny.command("fit", "--config", folder / "chat.yaml", *options, cwd=tmp_path)
    assert (status, len(err.strip().splitlines())) == (2, 2), (out, err)
    assert named in err
    assert not (tmp_path / "lightning_logs").exists()


def test_a_template_that_cannot_be_split_is_two_lines(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "tokenizer", tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "chat_template.jinja").write_text("{{ strftime_now('%d') }}{{ messages }}")
    config = ("--config", folder / "chat.yaml", "--data.tokenizer", tmp_path / "tokenizer")
    status, _, err = tiny.command("prepare", *config, cwd=tmp_path)
    assert (status, len(err.strip().splitlines())) == (2, 2), err
    assert "asks for today's date" in err
    status, _, err = tiny.command("prepare", *config, "--data.prompt_format", "plain", cwd=tmp_path)
    assert status == 0, err
