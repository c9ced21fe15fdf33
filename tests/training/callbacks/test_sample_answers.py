"""Sample answers during a fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_med.inference.decoding import Decoding
from lightning_med.training.callbacks import sample_answers
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.callbacks.sample_answers import SampleAnswers
from tests import tiny
from tests.training.callbacks.helpers import fit


def test_sample_answers_are_logged_at_each_validation(events: EventAccumulator, run: Path) -> None:
    steps = [point.step for point in events.Scalars("val/perplexity")]
    for number in range(2):
        points = events.Tensors(f"samples/{number}/text_summary")
        assert len(points) == len(steps) == 2
        for point in points:
            page = point.tensor_proto.string_val[0].decode()
            assert all(title in page for title in ("**Question**", "**Reference**", "**Answer at step"))
        questions = {point.tensor_proto.string_val[0].decode().split("**Reference**")[0] for point in points}
        assert len(questions) == 1  # the same question each time


@pytest.mark.parametrize("questions", [0, 2])
def test_sample_answers_do_not_change_the_training(folder: Path, tmp_path: Path, questions: int) -> None:
    settings: dict[str, Any] = {"max_epochs": 2, "val_check_interval": 3}
    without = fit(folder, tmp_path, [], **settings)
    with_answers = fit(folder, tmp_path, [SampleAnswers(questions, max_new_tokens=4)], **settings)
    ours, theirs = (tiny.weights(trainer.lightning_module) for trainer in (with_answers, without))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_sample_answers_are_decoded_as_the_runs_answers_are(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Decoding] = []
    monkeypatch.setattr(sample_answers, "generate_answers", lambda *args: seen.append(args[3]) or ["Rest."])
    model = tiny.language_model(temperature=0.7, repetition_penalty=1.2)
    tiny.trainer(tmp_path, callbacks=[SampleAnswers(1, max_new_tokens=4)]).fit(model, tiny.data_module(folder))
    assert seen
    assert seen[0] == replace(model.decoding, max_new_tokens=4)


def test_sample_answers_are_not_generated_outside_a_fit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(folder, tmp_path, [Checkpoints()])
    capsys.readouterr()
    trainer = tiny.trainer(tmp_path, callbacks=[SampleAnswers(1, max_new_tokens=2)])
    path = next(tmp_path.rglob("last.ckpt"))
    trainer.validate(tiny.language_model(), tiny.data_module(folder), ckpt_path=path, verbose=False, weights_only=True)
    assert "Sample answers" not in capsys.readouterr().out
