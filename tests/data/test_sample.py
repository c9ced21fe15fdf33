"""The embedded consultations are what their script writes, and varied enough to train on."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from lightning_med.data.sample import PATH, write
from lightning_med.data.splits.word_hashes import WordHashes
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
    assert len(topics) >= 60
    answers = "\n".join(row["output"] for row in rows).lower()
    assert [topic for topic in sorted(topics) if topic not in answers] == []


def test_sample_needs_no_cleaning(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert normalize_whitespace(row["input"]) == row["input"] != ""
        assert normalize_whitespace(row["output"]) == row["output"] != ""
        assert "<" not in row["input"] + row["output"]  # a placeholder that was not replaced
    keys = WordHashes.from_texts(pa.array([row["input"] for row in rows], pa.large_string())).compute_keys()
    assert len(set(keys.tolist())) == len(rows)
