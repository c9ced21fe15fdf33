"""compare_answers answers with exports and bases, measures the answers, and judges two of them blindly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lightning_med import Responder
from lightning_med.checkpoints.export_folder import SETTINGS
from lightning_med.utils.errors import InputError
from scripts.answers.judging import read_verdicts, report_verdicts, write_sheets
from scripts.answers.measures import measure_texts
from tests import tiny

Script = Callable[[str], ModuleType]


@pytest.fixture
def script(script: Script) -> ModuleType:
    return script("compare_answers")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.table(tmp_path_factory.mktemp("questions") / "table.csv", rows=12)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.finished_export(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="module")
def base(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a chat template and none of our settings."""
    folder = tmp_path_factory.mktemp("base") / "base"
    shutil.copytree(export, folder)
    (folder / SETTINGS).unlink()
    return folder


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# ------------------------------------------------------------------ answers


def test_an_export_and_a_base_answer_the_same_questions(
    script: ModuleType, export: Path, base: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "answers.jsonl"
    options = ["--model", str(export), "--model", f"untuned={base}", "--questions", str(table), "--count", "5"]
    status = script.main([*options, "--batch_size", "2", "--max_new_tokens", "7", "--output", str(output)])
    assert status == 0, capsys.readouterr().err
    lines = read_lines(output)
    assert len({line["question"] for line in lines}) == 5
    responder = Responder.from_pretrained(export, safety=False)
    for line in lines:
        assert set(line["answers"]) == {"export", "untuned"}
        assert line["answers"]["export"]["decoding"]["max_new_tokens"] == 7
        assert responder.respond(line["question"]).raw.startswith(line["answers"]["export"]["text"])
    shown = output.with_suffix(".md").read_text(encoding="utf-8")
    assert shown in capsys.readouterr().out
    assert [row.split(" | ")[0] for row in shown.splitlines()[2:]] == ["| references", "| export", "| untuned"]


def test_several_settings_are_compared_and_a_seed_repeats_them(
    script: ModuleType, export: Path, table: Path, tmp_path: Path
) -> None:
    options = ["--model", f"m={export}", "--questions", str(table), "--count", "4", "--max_new_tokens", "8"]
    options += ["--decoding", "{}", "--decoding", "{temperature: 1.5, min_p: 0.01, top_p: 0.9}"]
    answers = []
    for number, seed in enumerate(("42", "42", "7")):
        output = tmp_path / f"{number}.jsonl"
        assert script.main([*options, "--seed", seed, "--output", str(output)]) == 0
        answers.append(read_lines(output))
    first = answers[0][0]["answers"]
    assert list(first) == ["m, max_new_tokens 8", "m, max_new_tokens 8, temperature 1.5, top_p 0.9, min_p 0.01"]
    assert first[list(first)[1]]["decoding"]["sampling_seed"] == 42
    assert answers[0] == answers[1] != answers[2]


def test_rows_of_predictions_are_questions(script: ModuleType, export: Path, tmp_path: Path) -> None:
    rows = [{"row": n, "question": f"Why {n}?", "reference": f"So {n}.", "answer": "guarded"} for n in range(3)]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "answers.jsonl"
    options = ["--model", str(export), "--questions", str(path), "--count", "0", "--max_new_tokens", "2"]
    assert script.main([*options, "--output", str(output)]) == 0
    found = [(line["question"], line["reference"]) for line in read_lines(output)]
    assert found == [(row["question"], row["reference"]) for row in rows]


ASKED = ["--questions", "{table}", "--count", "3", "--output", "a.jsonl"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([], "--model"),
        (["--model", "{export}"], "--questions"),
        (["--model", "nowhere", *ASKED], "nowhere"),
        (["--model", "{export}", *ASKED, "--output", "a.txt"], ".jsonl"),
        (["--model", "{export}", *ASKED, "--min_p", "3"], "min_p"),
        (["--model", "{export}", *ASKED, "--decoding", "{x: 1}"], "'x'"),
        (["--model", "{export}", *ASKED, "--decoding", "{top_p: a}"], "top_p"),
        (["--model", "{export}", *ASKED, "--decoding", "{}", "--decoding", "{}"], "the same"),
        (["--model", "{export}", *ASKED, "--count", "99"], "12 questions"),
        (["--model", "{export}", *ASKED, "--judge_sheets", "sheets"], "Which two"),
        (["--answers", "{table}", "--judge_sheets", "sheets"], "--answers"),
        (["--verdicts", "{table}"], "--key"),
    ],
)
def test_wrong_options_are_refused_and_nothing_is_written(
    script: ModuleType,
    export: Path,
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [text.format(export=export, table=table) if text in ("{export}", "{table}") else text for text in options]
    assert script.main(given) == 2
    error = capsys.readouterr().err
    assert named in error
    assert len(error.strip().splitlines()) <= 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "there"),
    [
        (["--model", "{export}", "--questions", "{table}", "--output", "README.jsonl"], "README.md"),
        (["--model", "{export}", "--questions", "{table}", "--output", "a.jsonl"], "a.jsonl"),
        (["--answers", "answers.jsonl", "--judge_sheets", "sheets"], "sheets_key.json"),
        (["--answers", "answers.jsonl", "--judge_sheets", "sheets"], "sheets/sheet_3.md"),
    ],
)
def test_earlier_results_are_never_overwritten(
    script: ModuleType,
    export: Path,
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    there: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    line = {"question": "Why?", "answers": {name: {"text": name} for name in ("new", "old")}}
    (tmp_path / "answers.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert script.main([text.format(export=export, table=table) for text in options]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert f"{there} exists" in error[0]
    assert len(error) == 2
    assert (tmp_path / there).read_text() == "mine"
    assert sorted(tmp_path.rglob("*")) == before


# ------------------------------------------------------------------ measures


def test_measures_of_texts() -> None:
    measured = measure_texts(["Hi, Chat Doctor here.", "hi, chat", "ChatDoctor"], [True, False, True])
    assert measured.ended == pytest.approx(2 / 3)
    assert measured.words == pytest.approx(7 / 3)
    assert measured.chat_doctor == 2
    assert measured.distinct == pytest.approx(3 / 4)


# ------------------------------------------------------------------ judging


LINES = [
    {"question": f"Question {n}\n## 9", "answers": {name: {"text": f"{name} says {n}"} for name in ("new", "old")}}
    for n in range(1, 31)
]


def test_sheets_name_no_model_and_the_key_lies_outside(tmp_path: Path) -> None:
    for line in LINES:
        for name in ("new", "old"):
            line["answers"][name]["text"] = f"{'abc' if name == 'new' else 'xyz'} {line['question'][:11]}"
    key = write_sheets(tmp_path / "sheets", LINES, ("new", "old"), 2, seed=1)
    orders = json.loads(key.read_text())["first_is_a"]
    assert orders[0] != orders[1]
    assert all(5 < sum(order) < 25 for order in orders)
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == ["sheet_1.md", "sheet_2.md"]
    assert key.parent == tmp_path
    for judge, order in enumerate(orders, 1):
        text = (tmp_path / "sheets" / f"sheet_{judge}.md").read_text(encoding="utf-8")
        assert "new" not in text
        assert "old" not in text
        sections = text.split("\n## ")[1:]
        assert len(sections) == len(LINES)  # a heading in a question is quoted
        assert [section.index("abc") < section.index("xyz") for section in sections] == order


def test_verdicts_are_counted_for_the_first_model(tmp_path: Path) -> None:
    key = write_sheets(tmp_path / "sheets", LINES[:4], ("new", "old"), 2, seed=1)
    orders = json.loads(key.read_text())["first_is_a"]
    wanted = [["new", "new", "old", "tie"], ["new", "tie", "new"]]  # the second judge leaves one out
    paths = []
    for judge, (order, names) in enumerate(zip(orders, wanted, strict=True), 1):
        letters = [
            "tie" if n == "tie" else "A" if (n == "new") == a else "b" for n, a in zip(names, order, strict=False)
        ]
        path = tmp_path / f"verdicts_{judge}.txt"
        path.write_text("# mine\n\n" + "".join(f"{n}. {letter} because\n" for n, letter in enumerate(letters, 1)))
        paths.append(path)
    report = report_verdicts(paths, key)
    rows = {
        row.split(" | ")[0].strip("| "): row.split(" | ")[1:5] for row in report.splitlines() if " judge" in row[:8]
    }
    assert rows == {"judge 1": ["2", "1", "1", "0"], "judge 2": ["2", "0", "1", "1"]}
    assert "| majority | 1 | 0 | 2 | 1 | 100% |" in report  # a win and a tie, or a win and a loss, are a tie
    assert "both, if there are two" in report
    assert "agree on 1 of 3" in report
    assert "new against old" in report


@pytest.mark.parametrize(
    ("verdicts", "row"),
    [
        (["A", "A", "B"], "1 | 0 | 0 | 0"),
        (["A", "tie", "B"], "0 | 0 | 1 | 0"),
        (["B", "tie", "tie"], "0 | 0 | 1 | 0"),
        (["B", "tie", "B"], "0 | 1 | 0 | 0"),
        (["A", "A", ""], "0 | 0 | 0 | 1"),
    ],
)
def test_a_majority_is_more_than_half_of_all_judges(tmp_path: Path, verdicts: list[str], row: str) -> None:
    key = tmp_path / "key.json"
    key.write_text(json.dumps({"names": ["new", "old"], "first_is_a": [[True]] * 3}))
    paths = [tmp_path / f"verdicts_{judge}.txt" for judge in (1, 2, 3)]
    for path, verdict in zip(paths, verdicts, strict=True):
        path.write_text(f"1 {verdict}\n" if verdict else "")
    assert f"| majority | {row} |" in report_verdicts(paths, key)


@pytest.mark.parametrize("line", ["1 C", "A 1", "9 A", "0 tie", "1 A\n1 B", "1 Apple"])
def test_a_line_that_is_no_verdict_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "verdicts_1.txt"
    path.write_text(f"2 A\n{line}\n")
    with pytest.raises(InputError, match=r"line [23]"):
        read_verdicts(path, [True, False, True])
