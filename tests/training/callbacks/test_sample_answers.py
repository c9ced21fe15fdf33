"""Sample answers during a fit."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_med.inference.decoding import Decoding
from lightning_med.model.causal_lm import build_from_scratch
from lightning_med.training.callbacks import sample_answers
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.callbacks.sample_answers import SampleAnswers
from lightning_med.training.loggers.tracker import Tracker
from tests import tiny
from tests.training.callbacks.helpers import fit

DOSE = "Please rest at home for some days and take 500 mg of paracetamol every six hours."
DISCOURAGEMENT = "It will pass by itself within a week or so. You do not need to see a doctor about it."
SAFE = "Drink plenty of water and rest in a cool room until the heat of the day is over."
TAGS = ("safety/dose", "safety/diagnosis", "safety/talked_out_of_care", "safety/answers")


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


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was saved, as a pretrained base is; with dropout, which draws."""
    path = tmp_path_factory.mktemp("base")
    fields = {**tiny.NETWORK, "resid_pdrop": 0.2, "embd_pdrop": 0.2}
    build_from_scratch(fields, 300, 0, 0.0, seed=3).save_pretrained(path)
    return path


def fit_base(folder: Path, tmp_path: Path, base: Path, *callbacks: Any, **changes: Any) -> Any:
    """Returns the trainer after a fit of two epochs on a pretrained base, with a validation within each."""
    L.seed_everything(3, verbose=False)
    settings = {"callbacks": list(callbacks), "max_epochs": 2, "val_check_interval": 3, **changes}
    trainer = tiny.trainer(tmp_path, **settings)
    model = tiny.language_model(base=str(base), from_scratch=None, temperature=1.0)  # answers are drawn, too
    trainer.fit(model, tiny.data_module(folder))
    return trainer


@pytest.mark.parametrize("questions", [0, 2])
def test_sample_answers_do_not_change_the_training(folder: Path, tmp_path: Path, base: Path, questions: int) -> None:
    without = fit_base(folder, tmp_path, base)
    with_answers = fit_base(folder, tmp_path, base, SampleAnswers(questions, max_new_tokens=4))
    ours, theirs = (tiny.weights(trainer.lightning_module) for trainer in (with_answers, without))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_sample_answers_are_decoded_as_the_runs_answers_are(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Decoding] = []
    monkeypatch.setattr(
        sample_answers, "generate_answers", lambda *args: seen.append(args[3]) or ["Rest."] * len(args[2])
    )
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


# ------------------------------------------------------------------ safety


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills with the questions; the answer to every other one holds a dose, from the first on."""
    questions: list[str] = []

    def answer(network: Any, encoder: Any, group: list[str], *args: Any) -> list[str]:
        answers = [SAFE if (len(questions) + number) % 2 else DOSE for number in range(len(group))]
        questions.extend(group)
        return answers

    monkeypatch.setattr(sample_answers, "generate_answers", answer)
    return questions


def read_curves(tmp_path: Path, *tags: str) -> dict[str, list[tuple[int, float]]]:
    """Returns the points of `metrics.csv`, step and value."""
    with (tmp_path / "logs" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {tag: [(int(row["step"]), float(row[tag])) for row in rows if row.get(tag)] for tag in tags}


def log_to(tmp_path: Path) -> CSVLogger:
    return CSVLogger(tmp_path, name="logs", version="")


def test_shares_of_unsafe_answers_are_logged_at_each_validation(
    folder: Path, tmp_path: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    samples = SampleAnswers(1, max_new_tokens=4, counted=4)
    fit(folder, tmp_path, [samples], logger=log_to(tmp_path), max_epochs=2)
    curves = read_curves(tmp_path, "val/perplexity", *TAGS)
    steps = [step for step, _ in curves["val/perplexity"]]
    assert len(steps) == 2
    values = {"safety/dose": 0.5, "safety/diagnosis": 0.0, "safety/talked_out_of_care": 0.0, "safety/answers": 4.0}
    for tag, value in values.items():
        assert curves[tag] == [(step, value) for step in steps], tag
    assert asked[:4] == asked[4:]  # the same questions each time
    assert len(set(asked)) == 4
    said = capsys.readouterr().out.replace("\n", " ")
    assert said.count("Of 4 sample answers as the model wrote them: 2 with a dose, 0 with a definitive") == 2


class Tracked(CSVLogger, Tracker):
    """A tracker that keeps the tables of sample answers that it is given."""

    kind = "mlflow"

    def __init__(self, folder: Path, is_remote: bool) -> None:
        super().__init__(folder, name="logs", version="")
        self.place, self.is_remote = str(folder), is_remote
        self.tables: list[list[dict[str, str]]] = []

    def log_samples(self, samples: list[dict[str, str]], step: int) -> None:
        self.tables.append(samples)


@pytest.mark.parametrize(
    ("is_remote", "tracked", "tables"),
    [(False, None, 1), (False, False, 0), (True, None, 0), (True, True, 1)],
)
def test_patients_words_are_sent_away_only_where_that_is_asked_for(
    folder: Path, tmp_path: Path, asked: list[str], is_remote: bool, tracked: bool | None, tables: int
) -> None:
    tracker = Tracked(tmp_path, is_remote)
    options = {} if tracked is None else {"tracked": tracked}  # as by default
    fit(folder, tmp_path, [SampleAnswers(1, counted=0, **options)], logger=tracker, max_epochs=1)
    assert asked
    assert len(tracker.tables) == tables


@pytest.mark.parametrize("counted", [0, 1, 40])
def test_more_answers_are_counted_than_shown(
    folder: Path, tmp_path: Path, asked: list[str], events: EventAccumulator, counted: int
) -> None:
    samples = SampleAnswers(2, max_new_tokens=4, counted=counted)
    fit(folder, tmp_path, [samples], logger=log_to(tmp_path), max_epochs=1)
    there = len(tiny.data_module(folder).store("validation"))
    curves = read_curves(tmp_path, *TAGS)
    expected = min(counted, there)
    assert [value for _, value in curves["safety/answers"]] == [expected] * bool(counted)
    assert len(asked) == max(expected, 2)
    assert not any(tag.startswith("samples/2") for tag in events.Tags()["tensors"])


def test_the_first_point_of_each_curve_is_the_bases(
    folder: Path, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network that answers then has the base's weights; those of a fit from scratch are noise and not asked."""
    first: list[bool] = []

    def answer(network: Any, encoder: Any, group: list[str], *args: Any) -> list[str]:
        assert not network.training
        assert not torch.is_grad_enabled()
        first.append(all(torch.equal(weight, start[name]) for name, weight in network.state_dict().items()))
        return [DISCOURAGEMENT if first[-1] else SAFE] * len(group)

    start = type(build_from_scratch(tiny.NETWORK, 300, 0, 0.0, seed=3)).from_pretrained(base).state_dict()
    monkeypatch.setattr(sample_answers, "generate_answers", answer)
    trainer = fit_base(folder, tmp_path, base, SampleAnswers(2, max_new_tokens=4), logger=log_to(tmp_path))
    assert trainer.lightning_module.network.training
    curves = read_curves(tmp_path, "val/perplexity", *TAGS)
    points = curves["safety/talked_out_of_care"]
    assert points[0] == (0, 1.0)
    assert points[1:] == [(step, 0.0) for step, _ in curves["val/perplexity"]]
    assert len(points) > 2


def test_without_validation_the_base_is_not_asked(folder: Path, tmp_path: Path, base: Path, asked: list[str]) -> None:
    fit_base(folder, tmp_path, base, SampleAnswers(2), limit_val_batches=0, val_check_interval=None)
    assert not asked


def test_answers_that_are_not_ready_in_time_are_not_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = SampleAnswers(2, max_new_tokens=4, max_seconds=0.0)
    fit(folder, tmp_path, [samples], logger=log_to(tmp_path), max_epochs=1)
    assert not any(read_curves(tmp_path, *TAGS).values())
    said = capsys.readouterr().out.replace("\n", " ")
    assert "Sample answers at step" in said
    assert "Safety is not counted" in said
    assert "--samples.max_seconds" in said
