"""A mapping of splits is short for a list of sources with `split`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.pipeline import prepare
from lightning_med.data.sources.source import parse_sources
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.cli.helpers import read_json
from tests.conftest import consultation
from tests.written_tables import write_records

COLUMNS = {"question_column": "input", "answer_column": "output"}


def parse(setting: Any) -> list[tuple[str, str | None]]:
    return [(source.path, source.split) for source in parse_sources(setting, **COLUMNS)]


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Path]:
    """A table for each split."""
    bounds = {"train": (0, 40), "validation": (40, 50), "test": (50, 60)}
    return {
        split: write_records(tmp_path / f"{number}.csv", [consultation(row) for row in range(*rows)])
        for number, (split, rows) in enumerate(bounds.items())
    }


def test_values_are_paths_lists_or_entries() -> None:
    entry = {"path": "c.csv", "question_column": "asked", "weight": 2}
    assert parse({"train": ["a.csv", entry], "validation": "b/*.csv", "test": {"path": "d.csv", "split": "test"}}) == [
        ("a.csv", "train"),
        ("c.csv", "train"),
        ("b/*.csv", "validation"),
        ("d.csv", "test"),
    ]
    sources = parse_sources({"train": ["a.csv", entry], "test": "d.csv"}, **COLUMNS)
    assert [(source.question_column, source.weight) for source in sources] == [("input", 1), ("asked", 2), ("input", 1)]
    assert entry == {"path": "c.csv", "question_column": "asked", "weight": 2}


def test_a_mapping_with_a_path_is_one_entry() -> None:
    (source,) = parse_sources({"path": "a.csv", "answer_column": "reply", "split": "mixed"}, **COLUMNS)
    assert (source.path, source.answer_column, source.split) == ("a.csv", "reply", "mixed")


@pytest.mark.parametrize(
    ("setting", "what", "hint"),
    [
        ({"train": "a.csv", "tset": "b.csv"}, "unknown key 'tset'. Did you mean test?", "train, validation, test"),
        ({"train": "a.csv", "val": "b.csv"}, "unknown key 'val'. Did you mean validation?", "train, validation, test"),
        ({"train": "a.csv", "dev": "b.csv"}, "unknown key 'dev'. Did you mean validation?", "train, validation, test"),
        ({"Train": "a.csv"}, "unknown key 'Train'. Did you mean train?", "train, validation, test"),
        ({"paht": "a.csv"}, "unknown key 'paht'. Did you mean path?", "or path, and weight"),
        ({"xyz": "a.csv"}, "unknown key 'xyz'.", "train, validation, test"),
        ({1: "a.csv"}, "unknown key 1.", "train, validation, test"),
        ({"train": "a.csv", "path": "b.csv"}, "unknown field 'train'", "Its fields: path"),
        ({"train": {"path": "a.csv", "split": "test"}}, "an entry of train has split 'test'", "Leave split out."),
        ({"train": {"paht": "a.csv"}}, "unknown field 'paht'", "Its fields: path"),
        ({"train": None}, "train is None", "Name a file"),
        ({"train": []}, "train is []", "Name a file"),
        ({"train": ["a.csv", ""]}, "train is ''", "Name a file"),
        ({"train": [["a.csv"]]}, "train is ['a.csv']", "Name a file"),
        ({}, "empty", "Name a file"),
    ],
)
def test_what_is_no_mapping_of_splits_is_refused(setting: Any, what: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(setting)
    assert what in caught.value.what
    assert hint in caught.value.hint


def test_it_is_the_same_data_as_the_list(cache: Path, tables: dict[str, Path]) -> None:
    mapping: dict[str, Any] = {split: str(path) for split, path in tables.items()}
    entries: list[str | dict[str, Any]] = [{"path": path, "split": split} for split, path in mapping.items()]
    first, second = (prepare(DialogueDataModule(source, "train", 400).recipe) for source in (mapping, entries))
    assert second.cached
    assert first.fingerprint == second.fingerprint
    assert first.report["splits"] == {"train": 40, "validation": 10, "test": 10}


def test_validation_is_cut_from_training_where_it_is_not_given(cache: Path, tables: dict[str, Path]) -> None:
    source = {"train": str(tables["train"]), "test": str(tables["test"])}
    splits = prepare(DialogueDataModule(source, "train", 400, val_fraction=0.1).recipe).report["splits"]
    assert splits["test"] == 10
    assert splits["validation"] > 0
    assert splits["train"] + splits["validation"] == 40


def test_it_is_given_on_the_command_line_and_in_a_config(cache: Path, tmp_path: Path, tables: dict[str, Path]) -> None:
    mapping = {split: path.name for split, path in tables.items()}
    settings = {"data": {"source": mapping, "tokenizer": "train", "vocab_size": 400}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    status, out, err = tiny.command("prepare", "--config", "config.yaml", "--output", "a", cwd=tmp_path)
    assert status == 0, err
    assert "own splits: train 40 rows (0.csv), validation 10 (1.csv), test 10 (2.csv)" in " ".join(out.split())
    flow = "{train: [0.csv, 1.csv], test: 2.csv}"
    argv = ("prepare", "--config", "config.yaml", "--data.source", flow, "--output", "b")
    status, out, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    splits = [read_json(tmp_path / folder / "report.json")["splits"] for folder in ("a", "b")]
    assert splits[0] == {"train": 40, "validation": 10, "test": 10}
    assert splits[1]["test"] == 10
    assert splits[1]["train"] + splits[1]["validation"] == 50
    status, out, err = tiny.command(*argv[:4], "{train: 0.csv, tset: 2.csv}", cwd=tmp_path)
    assert status == 2
    assert "Did you mean test?" in err
