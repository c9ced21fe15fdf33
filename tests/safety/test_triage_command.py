"""`lightning-med triage`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lightning_med.cli.command import main
from lightning_med.safety.messages.advice import REGION_VARIABLE


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
    assert not out
    assert not (tmp_path / "out.jsonl").exists()


def test_the_command_takes_a_text_or_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys)[0] == 2
    assert run(capsys, "--input", "a.jsonl", "text")[0] == 2
    assert run(capsys, "--input", "nowhere.jsonl")[0] == 2
