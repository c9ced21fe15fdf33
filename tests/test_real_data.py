"""The main guarantees on real consultations; skipped if there are none beside the checkout."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from lightning_med.cli.command import main
from lightning_med.data.batching import collate
from lightning_med.data.cleaning.cleaner import clean, resolve_rules
from lightning_med.data.module import DialogueDataModule
from lightning_med.export.exported_tokenizer import make_exported_tokenizer
from lightning_med.model.causal_lm import build_from_scratch, compute_nll
from lightning_med.serving.responder import Responder
from lightning_med.tokenization.consultation import ANSWER
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompt_choice import choose_prompt
from lightning_med.tokenization.prompts import SYSTEM_PROMPT
from lightning_med.tokenization.tokenizer import StoredTokenizer, load_tokenizer, store_tokenizer
from scripts.bases.chat_templates import SMOLLM2
from scripts.bases.tokenizers import QWEN2_SPLIT, split_like

pytestmark = pytest.mark.slow  # real rows are many

TABLES = ("healthcaremagic_3k.csv", "questiondoctors_5k.csv", "icliniq_465.csv")
SCRATCH = {"n_layer": 2, "n_embd": 64, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0}


@pytest.fixture(scope="module")
def tokenizer_folder(shared: Path) -> str:
    return str(shared / "gpt2-tokenizer")


@pytest.fixture(scope="module")
def data(shared: Path, tokenizer_folder: str, tmp_path_factory: pytest.TempPathFactory) -> DialogueDataModule:
    module = DialogueDataModule(
        source=str(shared / "data" / TABLES[0]),
        tokenizer=tokenizer_folder,
        cache_dir=str(tmp_path_factory.mktemp("cache")),
    )
    module.prepare_data()
    return module


def compute_gradient(network: torch.nn.Module, loss: torch.Tensor) -> torch.Tensor:
    network.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def test_flat_batches_equal_a_padded_forward_pass_on_real_rows(data: DialogueDataModule) -> None:
    """20 random batches: loss and all gradients as one vector, relative L2 below 1e-5 in float32."""
    store, generator = data.store("train"), np.random.default_rng(0)
    network = build_from_scratch(SCRATCH, len(data.prepared.tokenizer), 50256, 0.0, seed=1)
    for _ in range(20):
        rows = generator.choice(len(store), 4, replace=False)
        ids = [torch.from_numpy(store.input_ids(row).astype(np.int64)) for row in rows]
        labels = [
            torch.where(torch.from_numpy(store.parts(row) == ANSWER), i, -100) for row, i in zip(rows, ids, strict=True)
        ]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(i) for i in ids], batch_first=True)
        wanted = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
        reference = network(input_ids=padded, attention_mask=mask, labels=wanted, use_cache=False).loss
        expected = compute_gradient(network, reference)
        flat = collate.collate_flat(store, rows)
        loss = compute_nll(network, flat)[0] / flat["answers"]
        actual = compute_gradient(network, loss)
        assert abs(loss - reference) / reference < 1e-5
        assert (actual - expected).norm() / expected.norm() < 1e-5


@pytest.fixture(scope="module")
def consultations(shared: Path) -> tuple[list[str], list[str]]:
    """All questions and answers of the real tables, cleaned."""
    questions: list[str] = []
    answers: list[str] = []
    for table in TABLES:
        frame = pd.read_csv(shared / "data" / table, usecols=["input", "output"], dtype=str, keep_default_na=False)
        frame = frame.set_axis(["question", "answer"], axis=1).assign(row=range(len(frame)))
        frame = clean(frame, resolve_rules({}), mask=True).frame
        assert len(frame) > 400
        questions += frame["question"].tolist()
        answers += frame["answer"].tolist()
    return questions, answers


def load_base(name: str, gpt2: str) -> PreTrainedTokenizerFast:
    """Returns GPT-2's tokenizer, SmolLM2's, or GPT-2's vocabulary under Qwen2's rules with and without ChatML."""
    if name == "smollm2":
        folder = os.environ.get("LIGHTNING_MED_SMOLLM2", "")
        if not folder or not (Path(folder) / "tokenizer.json").is_file():
            pytest.skip("LIGHTNING_MED_SMOLLM2 names no folder with SmolLM2-Instruct's tokenizer")
        return load_tokenizer(folder)
    tokenizer = load_tokenizer(gpt2)
    if name != "gpt2":
        tokenizer.backend_tokenizer.pre_tokenizer = split_like(QWEN2_SPLIT)
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
        tokenizer.chat_template = SMOLLM2 if name == "qwen_chat" else None
    return tokenizer


@pytest.mark.parametrize("name", ["gpt2", "smollm2", "qwen_plain", "qwen_chat"])
def test_the_exported_template_gives_the_ids_of_training(
    consultations: tuple[list[str], list[str]], tokenizer_folder: str, name: str
) -> None:
    stored = store_tokenizer(load_base(name, tokenizer_folder))
    prompt = choose_prompt(None, SYSTEM_PROMPT, stored)
    assert prompt.format == ("chat" if name in ("smollm2", "qwen_chat") else "plain")
    rows = Encoder(StoredTokenizer(stored), prompt, max_length=1_000_000).encode(*consultations)
    tokenizer = make_exported_tokenizer(stored, prompt)
    for start in range(0, len(rows), 500):
        pairs = zip(*(texts[start : start + 500] for texts in consultations), strict=True)
        messages = [
            [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            for question, answer in pairs
        ]
        learned = start == 0  # transformers is slow at the masks
        rendered = tokenizer.apply_chat_template(messages, return_assistant_tokens_mask=learned, return_dict=True)
        part = rows[start : start + 500]
        assert rendered["input_ids"] == [row.input_ids.tolist() for row in part]
        if learned:
            assert rendered["assistant_masks"] == [(row.parts == ANSWER).astype(int).tolist() for row in part]


def test_the_perplexity_equals_that_of_a_plain_loop_over_the_predictions(
    shared: Path, tokenizer_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIGHTNING_MED_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "slice.csv"
    pd.read_csv(shared / "data" / TABLES[0], dtype=str).head(400).to_csv(source, index=False)
    options = ["--data.source", str(source), "--data.tokenizer", tokenizer_folder, "--trainer.precision", "32-true"]
    options += ["--model.base", "null", "--model.from_scratch", json.dumps(SCRATCH), "--trainer.max_steps", "3"]
    options += ["--model.max_new_tokens", "4", "--trainer.accelerator", "cpu", "--samples.questions", "0"]
    assert main(["fit", "--name", "real", "--data.batch_tokens", "2048", *options]) == 0
    run = tmp_path / "lightning_logs" / "real" / "version_0"
    checkpoint = ["--ckpt_path", str(run / "checkpoints" / "last.ckpt")]
    perplexity = {}
    for budget in ("512", "8192"):
        config = ["--config", str(run / "config.yaml")]
        assert main(["test", *config, *checkpoint, "--data.batch_tokens", budget]) == 0
        perplexity[budget] = json.loads((run / "test.json").read_text())["test/perplexity"]
    assert perplexity["512"] == pytest.approx(perplexity["8192"], rel=1e-6)
    assert main(["predict", *checkpoint]) == 0
    assert main(["export", "--checkpoint", checkpoint[1], "--output", str(run / "export")]) == 0

    network, tokenizer = (
        AutoModelForCausalLM.from_pretrained(run / "export"),
        AutoTokenizer.from_pretrained(run / "export"),
    )
    total, count = 0.0, 0
    for line in (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        question = [{"role": "user", "content": row["question"]}]
        consultation = [*question, {"role": "assistant", "content": row["reference"]}]
        start = len(tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=False))
        ids = torch.tensor([tokenizer.apply_chat_template(consultation, return_dict=False)])
        with torch.no_grad():
            logits = network(ids).logits[0, start - 1 : -1].double()
        total += torch.nn.functional.cross_entropy(logits, ids[0, start:], reduction="sum").item()
        count += ids.shape[1] - start
    assert math.exp(total / count) == pytest.approx(perplexity["8192"], rel=1e-6)

    responder = Responder.from_pretrained(run / "export")
    ids = responder.encoder.encode_question("my tongue hurts <|endoftext|> Doctor: well", max_tokens=500)
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids).endswith("Patient: my tongue hurts <|endoftext|> Doctor: well\n\nDoctor:")
