"""benchmark_answering asks programs the same questions, and compares their speed with goals."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lightning_med.export.hf_folder import write_hf_folder
from lightning_med.safety import triage
from tests.export.models import MODELS, make_model

PROGRAMS = ["ours-llama", "ours-bfloat16", "ours-float32", "llama", "generate-bfloat16", "generate-float32"]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    write_hf_folder(make_model(*MODELS["llama"]), folder, "float32", lambda *_: None)
    return folder


@pytest.fixture
def answering(script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, whose workers run in this process, where nothing is imported again."""
    module = script("benchmark_answering")
    from answering import memory, rounds

    def run_worker(script: str, what: str, job: Path, threads: int) -> dict[str, Any]:
        result = job.with_name("result.json")
        module.work(what, job, result)
        figures: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return figures

    monkeypatch.setattr(memory, "_SIZE", 1 << 20)
    for place in (module, rounds):
        monkeypatch.setattr(place, "run_worker", run_worker)
    return module


def test_programs_answer_all_questions(
    answering: ModuleType, export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    argv = ["--model", str(export), "--streams", "1", "2", "--tokens", "4", "--rounds", "1", "--threads", "1"]
    assert answering.main([*argv, "--programs", *PROGRAMS, "--json", str(figures)]) == 0
    report = json.loads(figures.read_text(encoding="utf-8"))
    llama = ["ours-llama", "llama"] if importlib.util.find_spec("llama_cpp") else []
    others = [key for key in PROGRAMS if "llama" not in key]
    assert set(report["programs"]) == {*others, *llama}
    for program in report["programs"].values():
        assert [column["tokens"] for column in program["columns"]] == [4, 8]
        assert all(0 < column["first_median"] <= column["seconds"][0] for column in program["columns"])
        assert min(program["gap"], program["limit"]) > 0
        assert program["peak"] > 1 << 20
    assert report["programs"]["ours-float32"]["equal_answers"] == 1
    table = capsys.readouterr().out
    assert all(program["name"] in table for program in report["programs"].values())


def test_ratios_are_of_rounds_and_know_their_goal(answering: ModuleType) -> None:
    from answering.jobs import Measurement
    from answering.report import list_ratios
    from answering.rounds import Runs

    runs = Runs()
    for key, seconds in (("ours-llama", (1.0, 2.0)), ("generate-bfloat16", (2.0, 5.0)), ("llama", (0.5, 1.9))):
        for second in seconds:
            runs.add(key, {"peak": 1, "measurements": [vars(Measurement(1, 10, second, [0.1], 0.1))]})
    ratios = {one["goal"]: one for one in list_ratios(runs, [1])}
    assert ratios["at least 1.8"]["ratio"] == {"middle": 2.25, "least": 2.0, "most": 2.5}
    assert ratios["at most 1.2"]["ratio"]["most"] == 2.0
    assert [one["reached"] for one in ratios.values()] == [True, False, False]


def test_a_program_that_cannot_run_is_skipped_with_a_reason(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    module = script("benchmark_answering")
    from answering.rounds import Runs, run_worker

    figures = run_worker(str(module.__file__), "llama", tmp_path / "none.json", 1)
    assert "none.json" in figures["skipped"]
    runs = Runs()
    runs.add("llama", figures)
    assert list(runs.skipped) == ["llama"]
    assert not runs.measurements


def test_the_model_is_asked_every_question(script: Callable[[str], ModuleType]) -> None:
    script("benchmark_answering")
    from answering.questions import MOST, make_questions

    questions = [question for number in range(4) for question in make_questions(number, MOST)]
    assert len(set(questions)) == 4 * MOST
    assert {triage(question).level for question in questions} == {"ordinary"}


@pytest.mark.parametrize("argv", [["--streams", "33"], ["--tokens", "1"], ["--rounds", "0"], ["--programs", "none"]])
def test_wrong_options_are_refused(
    script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    assert script("benchmark_answering").main(["--model", "x", *argv]) == 2
    assert capsys.readouterr().err
