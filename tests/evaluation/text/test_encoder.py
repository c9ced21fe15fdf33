"""The encoder's vectors are those of transformers and torchmetrics, whatever else is encoded with a text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, GPT2Config, GPT2Model

from lightning_med.evaluation.text.encoder import SentenceEncoder, compute_bertscore, measure_similarity
from lightning_med.utils.errors import InputError
from tests.evaluation.text.texts import ANSWERS, REFERENCES, encoder_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_folder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def encoder(folder: Path) -> SentenceEncoder:
    return SentenceEncoder(folder)


def test_vectors_are_normalized_means_of_the_last_layer(encoder: SentenceEncoder, folder: Path) -> None:
    network, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    texts = [*REFERENCES, *ANSWERS] * 4  # more than a batch
    found = encoder.embed(texts)
    assert (found.dtype, found.shape) == (np.float32, (48, 16))
    for text, vector in zip(texts[:12], found, strict=False):
        with torch.inference_mode():
            inputs = tokenizer(text, truncation=True, max_length=24, return_tensors="pt")
            mean = network(**inputs).last_hidden_state[0].mean(0)
        assert vector == pytest.approx((mean / mean.norm()).numpy(), abs=1e-5)
    assert encoder.embed([]).shape == (0, 16)


def test_texts_that_are_cut_are_counted_once(encoder: SentenceEncoder) -> None:
    assert (encoder.limit, encoder.cut) == (24, 0)
    encoder.embed(["rest it", *REFERENCES[:2]])
    encoder.embed(REFERENCES[:3])
    assert encoder.cut == 3
    long = "rest " * 22
    assert np.allclose(*encoder.embed([long, f"{long} fever fever"]), atol=1e-6)


def test_bertscore_is_that_of_torchmetrics(encoder: SentenceEncoder, folder: Path) -> None:
    from torchmetrics.functional.text import bert_score

    class LastLayer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = AutoModel.from_pretrained(folder).eval()

    def forward(module: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return module.network(batch["input_ids"], batch["attention_mask"]).last_hidden_state

    answers = [ANSWERS[0], *ANSWERS[3:]]
    references = [REFERENCES[0], *REFERENCES[3:]]
    theirs = [
        bert_score(
            [answer],
            [reference],
            model=LastLayer(),
            user_tokenizer=AutoTokenizer.from_pretrained(folder),
            user_forward_fn=forward,
            max_length=24,
            truncation=True,
            num_threads=0,
        )["f1"]
        for answer, reference in zip(answers, references, strict=True)
    ]
    found = measure_similarity(encoder, answers, references)["bertscore_f1"]
    assert found.columns[:, 0].tolist() == pytest.approx([float(value) for value in theirs], abs=1e-5)


def test_bertscore_by_hand() -> None:
    answer = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    reference = torch.tensor([[0.0, 1.0]])
    precision, recall = (0 + 0.8) / 2, 0.8
    assert compute_bertscore(answer, reference) == pytest.approx(2 * precision * recall / (precision + recall))
    assert compute_bertscore(answer, answer) == pytest.approx(1)
    assert compute_bertscore(answer[:0], reference) == 0
    assert compute_bertscore(answer, -answer) == 0


def test_similarity_of_equal_other_empty_and_missing_answers(encoder: SentenceEncoder) -> None:
    answers = [REFERENCES[0], ANSWERS[1], "", None, "\u200b\n", "é猫"]
    found = measure_similarity(encoder, answers, REFERENCES)
    vectors = encoder.embed([ANSWERS[1], REFERENCES[1]])
    for name, statistic in found.items():
        values = statistic.columns[:, 0]
        assert values[0] == pytest.approx(1, abs=1e-6), name
        assert -1 <= values[1] < 0.999
        assert values[2] == 0
        assert np.isnan(values[3])
    assert found["similarity"].columns[1, 0] == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-5)
    told: list[int] = []
    again = measure_similarity(encoder, answers, REFERENCES, lambda what, done, total: told.append(total))
    assert again["similarity"].compute() == found["similarity"].compute()
    assert told == [5]


def test_the_digest_is_that_of_weights_and_tokenizer(encoder: SentenceEncoder, folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "README.md").write_text("new")
    assert SentenceEncoder(other).digest == encoder.digest
    for name in ("tokenizer.json", "model.safetensors"):
        changed = shutil.copytree(folder, tmp_path / name)
        if name == "tokenizer.json":
            (changed / name).write_text((changed / name).read_text() + "\n")
        else:
            state = load_file(changed / name)
            state["embeddings.LayerNorm.bias"] += 1
            save_file(state, changed / name, {"format": "pt"})
        assert SentenceEncoder(changed).digest != encoder.digest


def drop_weight(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    del state["encoder.layer.1.output.dense.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def put_decoder(folder: Path) -> None:
    GPT2Model(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=200, n_positions=32)).save_pretrained(folder)


def pool_first(folder: Path) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}'
    )


def add_dense(folder: Path) -> None:
    modules = [{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.Dense"}]
    (folder / "modules.json").write_text(json.dumps(modules))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "it has no config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "it has no weights in safetensors"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "it has no tokenizer"),
        (lambda folder: (folder / "config.json").write_text("{"), "is no encoder"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "t5"}'), "encoder-decoder"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "vit"}'), "does not read text"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), "is no encoder"),
        (drop_weight, "1 weights are missing"),
        (put_decoder, "is a decoder"),
        (pool_first, "pooling_mode_cls_token"),
        (add_dense, "with Dense"),
        (lambda folder: (folder / "modules.json").write_text("[1]"), "cannot be read"),
    ],
)
def test_a_folder_that_is_no_encoder_is_refused(
    damage: Callable[[Path], object], message: str, folder: Path, tmp_path: Path
) -> None:
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    damage(damaged)
    with pytest.raises(InputError, match=message) as caught:
        SentenceEncoder(damaged)
    assert str(damaged) in caught.value.what
    assert caught.value.hint
