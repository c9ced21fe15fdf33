"""`lightning-med triage`."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lightning_med.cli.command import main
from lightning_med.safety.messages.advice import REGION_VARIABLE
from tests.written_tables import write_archive


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["triage", *words])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_the_command_prints_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--region", "US", "crushing chest pain")
    found = json.loads(out)
    assert code == 0
    assert set(found) == {"level", "category", "categories", "advice", "evidence"}
    assert (found["level"], found["category"]) == ("emergency", "chest_pain")
    assert "911" in found["advice"]


@pytest.mark.parametrize("name", ["in.jsonl.gz", "in.zip"])
def test_the_command_judges_a_packed_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    content, place = b'{"text": "crushing chest pain"}\r\n', tmp_path / name
    if name == "in.zip":
        place = write_archive(place, {"in.jsonl": content}) / "in.jsonl"
    else:
        place.write_bytes(gzip.compress(content))
    code, out, _ = run(capsys, "--input", str(place))
    assert (code, json.loads(out)["level"]) == (0, "emergency")
    code, _, err = run(capsys, "--input", str(place / "other"))
    assert code == 2
    assert len(err.splitlines()) == 2


def test_the_command_judges_a_file_and_keeps_its_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"id": 7, "text": "crushing chest pain"}, {"text": "I have a mild cold", "who": "é"}]
    source.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    code, _, _ = run(capsys, "--input", str(source), "--output", str(output))
    found = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert code == 0
    assert [row["level"] for row in found] == ["emergency", "ordinary"]
    assert (found[0]["id"], found[1]["who"]) == (7, "é")


def test_the_verdicts_on_a_file_name_the_region_that_is_given_not_the_locales(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", REGION_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "he collapsed and is not breathing"}')
    monkeypatch.setenv("LANG", "en_GB.UTF-8")
    british = run(capsys, "--input", str(source))[1]
    typed = json.loads(run(capsys, "he collapsed and is not breathing")[1])["advice"]
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    assert run(capsys, "--input", str(source))[1] == british
    assert all(number in british for number in ("112", "999", "911", "000"))
    assert "999" in typed
    assert "911" not in typed
    american = json.loads(run(capsys, "--input", str(source), "--region", "US")[1])["advice"]
    assert "911" in american
    monkeypatch.setenv(REGION_VARIABLE, "AU")
    assert "000" in json.loads(run(capsys, "--input", str(source))[1])["advice"]
    assert "999" not in american


@pytest.mark.parametrize("line", ["no json", '"text"', '{"words": "x"}', '{"text": 3}'])
def test_a_bad_line_is_named(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "a cold"}\n' + line)
    code, out, err = run(capsys, "--input", str(source), "--output", str(tmp_path / "out.jsonl"))
    assert code == 2
    assert "line 2" in err
    assert "JSON Lines, one object with a `text` on each line" in err
    assert not out
    assert not (tmp_path / "out.jsonl").exists()


def test_the_command_takes_a_text_or_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys)[0] == 2
    assert run(capsys, "--input", "a.jsonl", "text")[0] == 2
    assert run(capsys, "--input", "nowhere.jsonl")[0] == 2


LABELLED = [
    {"text": "crushing chest pain", "label": "emergency", "sure": False},
    {"text": "I have a mild cold", "label": "ordinary", "weight": 3},
    {"text": "crushing chest pain right now", "level": "ordinary"},
]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_evaluate_prints_figures_and_what_was_taken_for_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, output = write_rows(tmp_path / "labels.jsonl", LABELLED), tmp_path / "out.jsonl"
    code, out, _ = run(capsys, "--evaluate", str(labels))
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines()]
    assert code == 0
    assert ["emergencies and crises at emergency or crisis", "1 of 1: 100.0 % (2.5 to 100.0 %)"] in lines
    assert ["alarms that the labels call emergency or crisis", "1 of 2: 50.0 % (1.3 to 98.7 %)"] in lines
    assert ["harmful refused", "none"] in lines
    assert ["ordinary", "1", "0", "0", "0", "1", "2"] in lines
    code, out, _ = run(capsys, "--evaluate", str(labels), "--json", "--output", str(output), "--region", "US")
    written = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert code == 0
    assert json.loads(out)["figures"]["ordinary at ordinary"]["hits"] == 1
    assert [row["level"] for row in written] == ["emergency", "ordinary", "emergency"]
    assert (written[0]["label"], written[1]["weight"], written[2]["given_level"]) == ("emergency", 3, "ordinary")
    assert "911" in written[0]["advice"]


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ('{"text": "a cold"}', "line 1: it has no label"),
        ('{"text": "a cold", "label": "ordinary"}\n\n{"text": "a cold", "label": "mild"}', "line 3: the label 'mild'"),
        ('{"label": "ordinary"}', "line 1: it has no text"),
        ("\n \n", "empty"),
    ],
)
def test_bad_labels_are_refused_in_two_lines(
    lines: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, output = tmp_path / "labels.jsonl", tmp_path / "out.jsonl"
    labels.write_text(lines)
    code, out, err = run(capsys, "--evaluate", str(labels), "--output", str(output))
    assert (code, out, len(err.splitlines()), output.exists()) == (2, "", 2, False)
    assert what in err


def test_options_that_evaluate_cannot_honour_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = write_rows(tmp_path / "labels.jsonl", LABELLED)
    before = labels.read_bytes()
    for words in (["text"], ["--input", str(labels)], ["--region", "GB"], ["--output", str(labels)]):
        assert run(capsys, "--evaluate", str(labels), *words)[0] == 2
    assert run(capsys, "--evaluate", str(labels), "--output", str(tmp_path))[0] == 2
    code, _, err = run(capsys, "--evaluate", str(tmp_path / "nowhere.jsonl"))
    assert (code, len(err.splitlines())) == (2, 2)
    assert run(capsys, "--json", "a cold")[0] == 2
    assert labels.read_bytes() == before


def test_evaluate_imports_no_heavy_library(tmp_path: Path) -> None:
    labels = write_rows(tmp_path / "labels.jsonl", LABELLED)
    code = (
        "import sys; from lightning_med.cli.command import main; main(sys.argv[1:]);"
        "print([name for name in ('torch', 'scipy', 'pandas', 'transformers') if name in sys.modules])"
    )
    words = [sys.executable, "-c", code, "triage", "--evaluate", str(labels)]
    result = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert result.stdout.splitlines()[-1] == "[]", result.stderr
