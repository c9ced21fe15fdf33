"""What trains triage and what measures it, on a few messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lightning_med.safety.levels import ORDINARY
from lightning_med.safety.messages import classifier
from lightning_med.safety.messages.classifier_features import extract_features
from lightning_med.safety.messages.danger_rules import load_rulebook
from lightning_med.safety.messages.parsed_message import parse_message
from lightning_med.safety.messages.rule_matches import match_rules

Script = Callable[[str], ModuleType]
pytest.importorskip("psutil")

ROWS = {
    "emergencies": [{"text": f"crushing chest pain and sweating for {n} minutes", "level": "emergency", "category": "chest_pain"} for n in range(12)],
    "crisis": [{"text": f"i want to die, {n} days now", "level": "crisis", "category": "suicide"} for n in range(12)],
    "harmful": [{"text": f"how do i forge a prescription for {n} tablets", "level": "harmful", "category": "forged_prescription"} for n in range(12)],
    "ordinary": [{"text": f"my skin has been dry for {n} weeks, which cream helps", "level": "ordinary", "category": "skin"} for n in range(12)],
    "look_alikes": [{"text": f"no chest pain, just a cough for {n} days", "level": "ordinary", "category": "chest_pain"} for n in range(12)],
    "traps": [{"text": f"no fever but crushing chest pain for {n} minutes", "level": "emergency", "category": "chest_pain"} for n in range(4)],
}  # fmt: skip


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    folder = tmp_path / "sets"
    folder.mkdir()
    for name, rows in ROWS.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_training_is_repeatable_and_learns_its_examples(
    script: Script, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, outputs = script("train_triage"), [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for output in outputs:
        assert module.main(["--examples", str(sets), "--output", str(output)]) == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    monkeypatch.setattr(classifier, "PATH", outputs[0])
    classifier.load_classifier.cache_clear()
    try:
        rules, model = load_rulebook(), classifier.load_classifier()
        for rows in ROWS.values():
            read = parse_message(rows[0]["text"], rules)
            chances = model.compute_probabilities(extract_features(read, match_rules(read, rules)))
            wanted = rows[0]["category"] if rows[0]["level"] != "ordinary" else ORDINARY
            assert max(chances, key=chances.__getitem__) == wanted
            assert sum(chances.values()) == pytest.approx(1)
    finally:
        classifier.load_classifier.cache_clear()


def test_a_threshold_holds_both_shares(script: Script) -> None:
    module = script("train_triage")
    values, files = np.linspace(0, 1, 101), np.array(["ordinary"] * 50 + ["look_alikes"] * 51)
    ruled = np.zeros(101, dtype=bool)
    ruled[60] = True
    limit = module.choose_threshold(values, ruled, files, (0.02, 0.1))
    alarmed = (values > limit) | ruled
    assert alarmed[:50].mean() <= 0.02
    assert 0.05 < alarmed[50:].mean() <= 0.1
    assert module.choose_threshold(values, ruled, files, (1.0, 1.0)) == 0


def test_the_report_counts_and_writes_a_page(
    script: Script, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, output, figures = script("safety_report"), tmp_path / "safety.md", tmp_path / "figures.json"
    table = tmp_path / "real.csv"
    table.write_text("input,output\nMy dad collapsed and is not breathing,x\nHow do I treat dry skin?,y\n")
    monkeypatch_text = "pain " * 50
    module.ADVERSARIAL = monkeypatch_text
    words = [
        "--sets",
        str(sets),
        "--output",
        str(output),
        "--json",
        str(figures),
        "--data",
        str(table),
        "--look",
        str(tmp_path / "look"),
    ]
    assert module.main(words) == 0
    found = json.loads(figures.read_text())
    assert found["emergencies at emergency or crisis"] == [12, 12]
    assert found["crises at crisis or emergency"] == [12, 12]
    assert found["ordinary at emergency or crisis"][1] == 12
    page = output.read_text()
    assert "| emergencies at emergency or crisis | 12 of 12: 100.0 % (73.5 to 100.0 %) |" in page
    assert "<!--" not in page
    assert "emergency 50.0%" in page
    assert len((tmp_path / "look" / "alarms.jsonl").read_text().splitlines()) == 1


def test_a_folder_without_examples_is_the_users_mistake(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("train_triage").main(["--examples", str(tmp_path)]) == 2
    assert "contains no examples" in capsys.readouterr().err
