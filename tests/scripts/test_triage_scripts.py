"""What trains triage and what measures it, on a few messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

from lightning_med.safety.levels import ORDINARY
from lightning_med.safety.messages.encoder import classifier

Script = Callable[[str], ModuleType]
pytest.importorskip("psutil")
pytest.importorskip("onnx")

ROWS = {
    "emergencies": [{"text": f"crushing chest pain and sweating for {n} minutes", "level": "emergency", "category": "chest_pain"} for n in range(12)],
    "crisis": [{"text": f"i want to die, {n} days now", "level": "crisis", "category": "suicide"} for n in range(12)],
    "harmful": [{"text": f"how do i forge a prescription for {n} tablets", "level": "harmful", "category": "forged_prescription"} for n in range(12)],
    "ordinary": [{"text": f"my skin has been dry for {n} weeks, which cream helps", "level": "ordinary", "category": "skin"} for n in range(12)],
    "look_alikes": [{"text": f"no chest pain, just a cough for {n} days", "level": "ordinary", "category": "chest_pain"} for n in range(12)],
    "everyday_2": [{"text": f"how often for {n} weeks", "level": "ordinary", "category": ""} for n in range(6)],
    "traps": [{"text": f"no fever but crushing chest pain for {n} minutes", "level": "emergency", "category": "chest_pain"} for n in range(4)],
}  # fmt: skip


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    folder = tmp_path / "sets"
    folder.mkdir()
    for name, rows in ROWS.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A tiny BERT with random weights, and a tokenizer of the words of `ROWS`."""
    texts = [row["text"] for rows in ROWS.values() for row in rows]
    words = sorted({word.strip(",") for text in texts for word in text.split()} | {","})
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    BertModel(config).save_pretrained(tmp_path / "encoder")
    tokenizer.save(str(tmp_path / "encoder" / "tokenizer.json"))
    return tmp_path / "encoder"


@pytest.fixture
def letters(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Letters of each part, with their labels in the place of the repository's."""
    module, folder = script("triage.letters"), tmp_path / "letters"
    folder.mkdir()
    entries, lines = [], ["input,output"]
    for row, part in enumerate(["train", "train", "test"] * 8):
        text, level = (f"Dear doctor my skin itches case {row}", "ordinary")
        if row % 2:
            text, level = (f"Dear doctor crushing chest pain case {row}", "emergency")
        lines.append(f"{text},x")
        entry = {"file": "a.csv", "row": row, "digest": module.digest_question(text)}
        entries.append({**entry, "level": level, "part": part})
    (folder / "a.csv").write_text("\n".join(lines))
    labels = folder / "labels.jsonl"
    labels.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    monkeypatch.setattr(module.load_letters, "__defaults__", (labels,))
    return folder


@pytest.mark.slow
def test_training_is_repeatable_and_learns_its_examples(
    script: Script, sets: Path, encoder: Path, letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, outputs = script("train_triage"), [tmp_path / "a", tmp_path / "b"]
    training = script("triage.encoder_training")
    monkeypatch.setattr(module, "list_rule_examples", lambda rules: [])
    monkeypatch.setattr(module, "WRITTEN_DANGER_WEIGHT", module.LETTER_WEIGHT)
    # The tiny encoder has learned nothing yet, so it needs larger steps.
    monkeypatch.setattr(
        module, "tune", lambda *given: training.tune(*given[:2], replace(given[2], rate=3e-3), given[3])
    )
    words = ["--examples", str(sets), "--encoder", str(encoder), "--letters", str(letters), "--epochs", "60"]
    for output in outputs:
        files = ["--output", str(output), "--probabilities", str(output / "probabilities.jsonl")]
        assert module.main([*words, *files]) == 0
    for name in ("classifier.onnx", "classifier_tokenizer.json", "probabilities.jsonl"):
        assert (outputs[0] / name).read_bytes() == (outputs[1] / name).read_bytes()
    monkeypatch.setattr(classifier, "PATH", outputs[0] / "classifier.onnx")
    monkeypatch.setattr(classifier, "TOKENIZER_PATH", outputs[0] / "classifier_tokenizer.json")
    model = classifier.load_classifier.__wrapped__()
    for rows in ROWS.values():
        chances = model.read(rows[0]["text"]).probabilities
        wanted = rows[0]["category"] if rows[0]["level"] != "ordinary" else ORDINARY
        assert max(chances, key=chances.__getitem__) == wanted
        assert sum(chances.values()) == pytest.approx(1)


def test_a_letter_counts_for_each_category_of_its_level(script: Script) -> None:
    module = script("train_triage")
    classes = module.list_classes()
    allowed = module.mark_allowed("crisis", "", classes)
    assert {name for name, one in zip(classes, allowed, strict=True) if one} == {
        name for name, level in classes.items() if level == "crisis"
    }
    assert module.mark_allowed("crisis", "suicide", classes).sum() == 1
    losses = script("triage.encoder_training").compute_losses(
        torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[False, True, True]])
    )
    shares = torch.tensor([0.0, 1.0, 2.0]).softmax(0)
    assert losses.item() == pytest.approx(-torch.log(shares[1] + shares[2]).item())


def test_calibration_undoes_what_a_sample_exaggerates(script: Script) -> None:
    """Scores that are twice too large, and 1 too high for urgent: the scale and the shift that put it right."""
    generator = np.random.default_rng(0)
    right = generator.normal(size=(4000, 2)).astype(np.float32) * 1.5
    shares = np.exp(right) / np.exp(right).sum(1, keepdims=True)
    labels = np.where(generator.random(4000) < shares[:, 1], "urgent", "ordinary")
    scale, shifts = script("triage.calibration").calibrate(
        right * 2 + np.float32([0, 2]), labels, ["ordinary", "urgent"]
    )
    assert scale == pytest.approx(2, rel=0.15)
    assert shifts["urgent"] == pytest.approx(-1, abs=0.2)


def test_the_report_counts_and_writes_a_page(
    script: Script, sets: Path, letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, output, figures = script("safety_report"), tmp_path / "safety.md", tmp_path / "figures.json"
    monkeypatch.setattr(module, "ADVERSARIAL", "pain " * 50)
    unseen = tmp_path / "cross_validated.jsonl"
    digests = [letter.digest for letter in script("triage.letters").load_letters(letters) if letter.part == "train"]
    rows = [
        {"digest": digest, "danger": 0.9 * (n % 2), "urgent": 0.0, "harmful": 0.0} for n, digest in enumerate(digests)
    ]
    unseen.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(script("triage.letter_scores"), "CROSS_VALIDATED", unseen)
    words = [
        "--sets",
        str(sets),
        "--output",
        str(output),
        "--json",
        str(figures),
        "--letters",
        str(letters),
    ]
    assert module.main(words) == 0
    found = json.loads(figures.read_text())
    assert found["emergencies at emergency or crisis"] == [12, 12]
    assert found["crises at crisis or emergency"] == [12, 12]
    assert found["ordinary at emergency or crisis"][1] == 12
    page = output.read_text()
    assert "| emergencies at emergency or crisis | 12 of 12: 100.0 % (73.5 to 100.0 %) |" in page
    assert "<!--" not in page
    assert "| emergencies and crises at emergency or crisis |" in page
    assert "4 of 4: 100.0 %" in page  # the letters of the part test alone
    assert "8 of 8: 100.0 %" in page  # the others, by the probabilities of the file
    assert "| everyday questions |" in page


def test_a_folder_without_examples_is_the_users_mistake(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--examples", str(tmp_path), "--encoder", str(tmp_path), "--letters", str(tmp_path)]
    assert script("train_triage").main(words) == 2
    assert "contains no examples" in capsys.readouterr().err


def test_a_folder_without_an_encoder_is_the_users_mistake(
    script: Script, sets: Path, letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--examples", str(sets), "--encoder", str(tmp_path), "--letters", str(letters), "--output", str(tmp_path)]
    assert script("train_triage").main(words) == 2
    assert "is no folder of an encoder" in capsys.readouterr().err
