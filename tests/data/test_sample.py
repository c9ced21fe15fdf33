"""The embedded consultations are what their script writes, and varied enough to train on."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from lightning_med.data.sample import PATH, write
from lightning_med.data.splits.word_hashes import WordHashes
from lightning_med.safety import guard
from lightning_med.tokenization.text_normalization import normalize_whitespace


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with PATH.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_sample_is_what_its_script_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["write", "--output", str(tmp_path / "written.csv")])
    write.main()
    assert (tmp_path / "written.csv").read_bytes() == PATH.read_bytes()


def test_seed_fixes_every_choice() -> None:
    assert write.write_consultations(70, 1) == write.write_consultations(70, 1)
    assert write.write_consultations(70, 1) != write.write_consultations(70, 2)


def test_sample_is_of_a_useful_size(rows: list[dict[str, str]]) -> None:
    assert 2_000 <= len(rows) <= 4_000
    assert set(rows[0]) == {"input", "output"}
    assert PATH.stat().st_size < 4_000_000


def test_sample_covers_many_complaints(rows: list[dict[str, str]]) -> None:
    knowledge = yaml.safe_load(PATH.with_name("complaints.yaml").read_text(encoding="utf-8"))
    topics = {entry["topic"].lower() for entry in knowledge["complaints"]}
    assert len(topics) >= 100
    answers = "\n".join(row["output"] for row in rows).lower()
    assert [topic for topic in sorted(topics) if topic not in answers] == []


def test_sample_needs_no_cleaning(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert normalize_whitespace(row["input"]) == row["input"] != ""
        assert normalize_whitespace(row["output"]) == row["output"] != ""
        assert "<" not in row["input"] + row["output"]  # a placeholder that was not replaced
    keys = WordHashes.from_texts(pa.array([row["input"] for row in rows], pa.large_string())).compute_keys()
    assert len(set(keys.tolist())) == len(rows)


def test_answers_to_men_and_boys_speak_of_no_periods(rows: list[dict[str, str]]) -> None:
    men = [row["output"] for row in rows if re.search(r"your (husband|father|son|brother|baby boy)\b", row["output"])]
    assert len(men) > 100
    assert [text for text in men if re.search(r"\bperiods?\b|pregnan", text)] == []


def test_answers_take_up_what_was_tried(rows: list[dict[str, str]]) -> None:
    taken_up = [row for row in rows if re.search(r"(Since|As) .* did not (help enough|do much)", row["output"])]
    assert len(taken_up) > 100
    for row in taken_up:
        tried = re.search(r"(?:Since|As) ([^.]*) did not (?:help enough|do much)", row["output"])
        assert tried is not None
        assert tried[1].lower() in row["input"].lower()


def test_every_answer_says_when_help_is_urgent(rows: list[dict[str, str]]) -> None:
    urgent = re.compile(r"at once|emergency care|urgent help|warning signs|not wait at all", re.I)
    assert [row["output"] for row in rows if not urgent.search(row["output"])] == []


def test_the_guard_leaves_nearly_all_answers_as_they_are(rows: list[dict[str, str]]) -> None:
    changed = [row["output"] for row in rows[:200] if guard("My tongue is sore.", row["output"]).actions]
    assert len(changed) <= 4


def test_hardly_two_answers_begin_alike(rows: list[dict[str, str]]) -> None:
    """The words after the greeting; a network that learns one opening for all of them sounds like a machine."""
    beginnings = {" ".join(row["output"].split()[:12]) for row in rows}
    assert len(beginnings) > len(rows) / 4
