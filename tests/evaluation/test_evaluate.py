"""`evaluate`: the same figures twice, also after an interruption; baselines, differences and refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lightning_med.evaluation import measured_rows
from lightning_med.evaluation.likelihood import reference_batches
from lightning_med.inference import question_batches
from tests import tiny
from tests.cli.helpers import run_refused

FILES = {"metrics.json", "report.html", "report.md", "rows.jsonl"}
FAST = ("--max_new_tokens", 8, "--draws", 1000)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the shared run."""
    return tmp_path_factory.getbasetemp() / "tiny"


@pytest.fixture(scope="session")
def run(folder: Path) -> Path:
    return tiny.finished_run(folder)


@pytest.fixture(scope="session")
def exported(folder: Path) -> Path:
    return tiny.finished_export(folder)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Several chunks of several batches; a cache of its own for tables."""
    monkeypatch.setenv("LIGHTNING_MED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measured_rows, "_CHUNK", 5)
    monkeypatch.setattr(reference_batches, "CHUNK", 5)
    monkeypatch.setattr(reference_batches, "BATCH_TOKENS", 150)
    monkeypatch.setitem(question_batches.LIMITS, "cpu", (2, 1 << 13))


def evaluate(*argv: object) -> dict[str, Any]:
    """Runs the command and returns the content of its `metrics.json`."""
    status, _, err = tiny.command("evaluate", *argv, *FAST)
    assert status == 0, err
    output = Path(str(argv[argv.index("--output") + 1]))
    assert {path.name for path in output.iterdir()} == FILES
    content: dict[str, Any] = json.loads((output / "metrics.json").read_text())
    return content


@pytest.fixture(scope="module")
def results(run: Path, exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the shared run's export, compared with a copy of itself, on the run's test split."""
    output = tmp_path_factory.mktemp("results") / "out"
    copy = shutil.copytree(exported, output.parent / "copy")
    status, out, err = tiny.command(
        *("evaluate", "--model", exported, "--compare", copy, "--data", run, "--output", output, "--power", *FAST)
    )
    assert status == 0, err
    assert f"next: open {output / 'report.html'}" in out
    return output


@pytest.fixture(scope="module")
def content(results: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((results / "metrics.json").read_text())
    return loaded


def test_perplexity_is_that_of_the_test_verb(content: dict[str, Any], run: Path, tmp_path: Path) -> None:
    output = tmp_path / "test.json"
    status, _, err = tiny.command("test", "--ckpt_path", run / "checkpoints" / "last.ckpt", "--output", output)
    assert status == 0, err
    found = content["models"]["export"]["perplexity"]
    assert found["value"] == pytest.approx(json.loads(output.read_text())["test/perplexity"], rel=1e-5)
    assert found["low"] < found["value"] < found["high"]
    assert content["data"]["rows"] == json.loads(output.read_text()).get("test/rows", content["data"]["rows"])


def test_a_model_against_itself_differs_nowhere_and_has_no_verdict(content: dict[str, Any]) -> None:
    own = [each for each in content["differences"] if (each["a"], each["b"]) == ("export", "copy")]
    assert len(own) > 40
    assert {each["verdict"] for each in own} == {None}
    assert {each["value"] for each in own if each["value"] is not None} == {0.0}
    assert {each["rows_needed"] for each in own} == {None}


def test_baselines_stand_beside_the_models_with_what_is_missing(content: dict[str, Any]) -> None:
    assert set(content["baselines"]) == {"constant", "retrieval"}
    assert content["about"]["constant"]["text"]
    assert "perplexity" not in content["baselines"]["constant"]
    assert "rouge1" in content["baselines"]["constant"]
    left_out = " ".join(content["left_out"])
    for name in ("untuned base: there is none", "--encoder DIR", "--human FILE"):
        assert name in left_out


def test_the_chain_of_digests_is_complete(content: dict[str, Any], exported: Path) -> None:
    about = content["about"]["export"]
    assert all(len(about[name]) == 64 for name in ("digest", "prompt", "tokenizer"))
    assert len(content["data"]["content"]) == 64
    assert content["settings"]["precision"] == "float32"
    assert content["versions"]["torch"]


def test_twice_the_same_evaluation_is_byte_identical_also_after_a_kill(
    results: Path, run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    argv = ("evaluate", "--model", exported, "--compare", results.parent / "copy", "--data", run)
    argv += ("--output", output, "--power", *FAST)
    append, batches = measured_rows.PartFile.append, []

    def break_off(self: Any, rows: Any) -> None:
        append(self, rows)
        batches.append(len(rows))
        if len(batches) % 7 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(measured_rows.PartFile, "append", break_off)
    for _ in range(40):
        try:
            status, *_ = tiny.command(*argv)
        except KeyboardInterrupt:
            assert not (output / "metrics.json").exists()
            continue
        assert status == 0
        break
    assert len(batches) > 14  # it was killed at least twice
    total = len((results / "rows.jsonl").read_text().splitlines())
    assert sum(batches) == total  # no row was measured into the file twice
    for name in sorted(FILES):
        assert (output / name).read_bytes() == (results / name).read_bytes(), name


def test_a_table_is_measured_whole_with_training_rows_and_ceiling(exported: Path, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    sore, cough = "My tongue is sore and red since monday.", "I cough every night and cannot sleep."
    rows = [(sore, "Rest it, and drink cold water often."), (sore, "See a dentist soon about that, please.")]
    rows.append((cough, "Drink warm tea and let the air in."))
    table.write_text("q,a\n" + "".join(f'{q},"{a}"\n' for q, a in rows), encoding="utf-8")
    content = evaluate(
        *("--model", exported, "--data", table, "--train", table, "--output", tmp_path / "out"),
        *("--question_column", "q", "--answer_column", "a", "--answers", "greedy"),
    )
    assert content["data"]["split"] == "all"
    assert content["data"]["rows"] == 3
    assert content["about"]["human"]["rows"] == 2
    assert content["baselines"]["human"]["rouge1"]["rows"] == 2
    assert not any(name.startswith("sampled_") for name in content["models"]["export"])
    assert content["baselines"]["retrieval"]["rouge1"]["value"] > content["baselines"]["constant"]["rouge1"]["value"]


def test_likelihood_alone_needs_no_answers(exported: Path, run: Path, tmp_path: Path) -> None:
    content = evaluate(
        "--model", exported, "--data", run, "--answers", "likelihood", "--limit", 4, "--output", tmp_path / "out"
    )
    assert content["data"]["rows"] == 4
    assert "rouge1" not in content["models"]["export"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--model", "nowhere"), ("--model nowhere: no such folder",)),
        (("--compare", "nowhere"), ("--compare nowhere: no such folder",)),
        (("--base", "nowhere"), ("--base nowhere: no such folder",)),
        (("--encoder", "nowhere"), ("--encoder nowhere: no such folder",)),
        (("--canaries", "nowhere"), ("--canaries nowhere: no such file",)),
        (("--data", "nowhere.csv"), ("nowhere.csv",)),
        (("--train", "nowhere.csv"), ("nowhere.csv",)),
        (("--question_column", "q"), ("--question_column", "run")),
        (("--limit", "0"), ("--limit",)),
        (("--draws", "10"), ("--draws",)),
        (("--output", "EXPORT"), ("--output", "folder of a model")),
    ],
)
def test_wrong_input_is_refused_in_two_lines(
    argv: tuple[str, ...], words: tuple[str, ...], run: Path, exported: Path, tmp_path: Path
) -> None:
    given = {"--model": str(exported), "--data": str(run), "--output": str(tmp_path / "out")}
    given[argv[0]] = argv[1].replace("EXPORT", str(exported))
    before = sorted(exported.iterdir())
    message = run_refused("evaluate", *(word for pair in given.items() for word in pair), cwd=tmp_path)
    assert all(word in message for word in words), message
    assert not (tmp_path / "out").exists()
    assert sorted(exported.iterdir()) == before


def test_earlier_results_are_not_replaced_unasked(results: Path, run: Path, exported: Path) -> None:
    before = (results / "metrics.json").read_bytes()
    message = run_refused("evaluate", "--model", exported, "--data", run, "--output", results, cwd=results)
    assert "is there already, complete" in message
    assert (results / "metrics.json").read_bytes() == before
