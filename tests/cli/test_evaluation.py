"""`test`, `validate`, `predict`, `export`, `respond` and `prepare`: what they write and where."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from lightning_med.data.batching import loaders
from lightning_med.inference.part_file import PartFile
from lightning_med.safety import Verdict
from tests import tiny
from tests.cli.helpers import list_files, read_json, run_refused, write_small_config


@pytest.mark.parametrize("alone", [True, False], ids=["checkpoint alone", "with the run's config"])
def test_test_validate_and_predict_write_into_the_run(run: Path, tmp_path: Path, alone: bool) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    config = () if alone else ("--config", run / "config.yaml")
    before = list_files(tmp_path)
    for verb, name in (("test", "test.json"), ("validate", "validate.json"), ("predict", "predictions.jsonl")):
        status, out, err = tiny.command(verb, *config, "--ckpt_path", checkpoint, cwd=tmp_path)
        assert status == 0, err
        assert str(run / name) in out
        assert out.strip().splitlines()[-1].startswith("next: ")
    names = ("test.json", "validate.json", "predictions.jsonl", "predictions.safety.json")
    written = {f"lightning_logs/tiny/version_0/{name}" for name in names}
    assert list_files(tmp_path) == before | written  # and no new version
    test, validation = read_json(run / "test.json"), read_json(run / "validate.json")
    assert test["test/perplexity"] < test["test/base_perplexity"]
    assert isinstance(test["test/tokens"], int)
    assert validation["val/perplexity"] > 1
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows
    assert {"row", "source", "question", "reference", "answer", "raw", "level", "category", "guard"} == set(rows[0])


def test_output_sets_the_file_of_the_results(run: Path, tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    argv = ("test", "--ckpt_path", run / "checkpoints" / "last.ckpt", "--output", target)
    status, out, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    assert str(target) in out
    assert read_json(target)["test/tokens"] > 0
    assert not (run / "test.json").exists()


def test_predict_says_how_many_answers_hold_unsafe_content(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the questions are urgent: the advice above their answers is the package's and does not count."""
    asked: list[str] = []

    def answer(network: Any, encoder: Any, group: list[str], *args: Any) -> list[str]:
        asked.extend(group)
        safe = "Drink plenty of water and rest in a cool room until the heat of the day is over."
        return [f"{safe} Take 500 mg of paracetamol every six hours." if len(asked) == len(group) else safe] * len(
            group
        )

    def judge(question: str, region: str | None = None) -> Verdict:
        urgent = Verdict(
            "urgent", "x", ("x",), "Call a doctor today if you took 500 mg of paracetamol every six hours."
        )
        return urgent if len(question) % 2 else Verdict("ordinary")

    monkeypatch.setattr("lightning_med.training.evaluated_module.generate_answers", answer)
    monkeypatch.setitem(loaders._QUESTIONS, "cpu", 4)
    for module in ("lightning_med.safety.answers.guard", "lightning_med.training.callbacks.predictions"):
        monkeypatch.setattr(f"{module}.triage", judge)
    argv = ("predict", "--ckpt_path", run / "checkpoints" / "last.ckpt", "--output", tmp_path / "p.jsonl")
    status, out, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    total = len(asked)
    (line,) = [line for line in out.splitlines() if line.startswith("safety: ")]
    counts = "4 with a dose, 0 with a definitive diagnosis, 0 with talk out of care; after the guard 0, 0, 0"
    assert line == f"safety: of {total} answers as the model wrote them, {counts}"
    none = {"dose": 0, "diagnosis": 0, "discouragement": 0}
    expected = {"answers": total, "raw": {**none, "dose": 4}, "guarded": none}
    assert read_json(tmp_path / "p.safety.json") == expected
    levels = {json.loads(line)["level"] for line in (tmp_path / "p.jsonl").open(encoding="utf-8")}
    assert levels == {"urgent", "ordinary"}


def test_predictions_are_replaced_only_when_asked(run: Path, tmp_path: Path) -> None:
    argv = ("predict", "--ckpt_path", run / "checkpoints" / "last.ckpt", "--output", tmp_path / "p.jsonl")
    status, out, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    assert re.search(r"Answers \d+ of the data's 60 questions", " ".join(out.split()))
    before = (tmp_path / "p.jsonl").read_bytes()
    err = run_refused(*argv, cwd=tmp_path)
    assert "--overwrite true" in err
    status, _, err = tiny.command(*argv, "--overwrite", "true", cwd=tmp_path)
    assert status == 0, err
    assert (tmp_path / "p.jsonl").read_bytes() == before


def test_predictions_that_a_signal_ended_are_gone_on_with(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loaders._QUESTIONS, "cpu", 2)
    argv = ("predict", "--ckpt_path", run / "checkpoints" / "last.ckpt")
    part, groups = run / ".predictions.jsonl.part", iter(range(3))
    append = PartFile.append

    def append_or_stop(self: PartFile, rows: dict[int, Any]) -> None:
        append(self, rows)
        if next(groups, None) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(PartFile, "append", append_or_stop)
    status, out, _ = tiny.command(*argv, cwd=tmp_path)
    assert status == 143
    assert part.name in out
    assert not (run / "predictions.jsonl").exists()
    err = run_refused(*argv, "--model.temperature", "0.5", cwd=tmp_path)
    assert "another temperature: 0.0 there, 0.5 here" in err
    status, out, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    assert "6 are answered already" in " ".join(out.split())
    assert not part.exists()
    rows = [json.loads(line)["row"] for line in (run / "predictions.jsonl").open(encoding="utf-8")]
    assert rows == sorted(set(rows))


def test_options_override_the_settings_of_a_checkpoint(run: Path, tmp_path: Path) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    results = []
    for tokens in (256, 4096):
        target = tmp_path / f"{tokens}.json"
        argv = ("test", "--ckpt_path", checkpoint, "--data.batch_tokens", tokens, "--output", target)
        status, _, err = tiny.command(*argv, cwd=tmp_path)
        assert status == 0, err
        results.append(read_json(target)["test/perplexity"])
    assert results[0] == pytest.approx(results[1], rel=1e-6)


def test_the_best_checkpoint_has_the_perplexity_in_its_name(run: Path, tmp_path: Path) -> None:
    (best,) = (run / "checkpoints").glob("best*.ckpt")
    status, _, err = tiny.command("validate", "--ckpt_path", best, cwd=tmp_path)
    assert status == 0, err
    assert read_json(run / "validate.json")["val/perplexity"] == pytest.approx(
        float(best.stem.split("-")[-1]), abs=0.006
    )


def test_export_and_respond_need_only_the_checkpoint(run: Path, tmp_path: Path) -> None:
    for path in (run / "config.yaml", run / "hparams.yaml"):
        path.unlink(missing_ok=True)
    argv = ("export", "--checkpoint", run / "checkpoints" / "last.ckpt", "--output", run / "export")
    status, out, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    assert out.strip().splitlines()[-1].startswith("next: lightning-med respond --model ")
    status, out, err = tiny.command(
        "respond", "My tongue is sore.", cwd=tmp_path
    )  # uses the newest export of this folder
    assert status == 0, err
    assert out.strip()


def test_files_of_others_stay_when_a_report_is_written(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "report"
    (output / "deep").mkdir(parents=True)
    for name in ("notes.csv", "deep/report.json"):
        (output / name).write_text("mine")
    config = tiny.config(folder)
    for _ in range(2):
        assert tiny.command("prepare", "--config", config, "--output", output, cwd=tmp_path)[0] == 0
    assert {(output / name).read_text() for name in ("notes.csv", "deep/report.json")} == {"mine"}
    assert (output / "report.html").is_file()


def test_prepare_writes_the_data_report(folder: Path, tmp_path: Path) -> None:
    argv = ("prepare", "--config", write_small_config(folder, tmp_path), "--output", tmp_path / "report")
    status, out, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    report = read_json(tmp_path / "report" / "report.json")
    assert report["rows_in"] == report["rows_out"] == sum(report["splits"].values()) == 60
    assert out.strip().splitlines()[-1].startswith("next: lightning-med fit --config ")
    assert not (tmp_path / "lightning_logs").exists()
