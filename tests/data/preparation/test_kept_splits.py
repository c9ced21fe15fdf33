"""A data set with splits of its own is prepared as its owner split it, from any kind of source."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.pipeline import Prepared, prepare
from lightning_med.data.report.data_report import print_report, write_report
from lightning_med.data.sources import source_files as sources
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.data.splits.own_splits import describe_own_splits
from lightning_med.utils.errors import InputError
from tests.conftest import consultation
from tests.data.preparation.helpers import left_in, rows_left_in, tables_of, write

SIZES = {"train": 60, "validation": 12, "test": 20}
FIRSTS = {"train": 0, "validation": 60, "test": 72}


def rows_of(split: str) -> list[tuple[str, str]]:
    return [consultation(FIRSTS[split] + number) for number in range(SIZES[split])]


def write_table(path: Path, rows: list[tuple[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [dict(zip(("input", "output"), row, strict=True)) for row in rows]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    else:
        write(path, rows)


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Path]:
    """Writes a data set with a file, or several shards, for each split that is named; returns its folder."""

    def make(pattern: str = "{}.csv", shards: int = 1, splits: tuple[str, ...] = SPLITS) -> Path:
        for split in splits:
            rows = rows_of(split)
            for shard in range(shards):
                part = rows[shard::shards]
                write_table(tmp_path / "set" / pattern.format(split, shard=shard), part)
        return tmp_path / "set"

    return make


def prepare_source(source: Any, **changes: Any) -> Prepared:
    settings: dict[str, Any] = {"tokenizer": "train", "vocab_size": 400, "max_length": 128, "eval_max_length": 256}
    return prepare(DialogueDataModule(source, **{**settings, **changes}).recipe)


def kept(prepared: Prepared, split: str) -> list[tuple[str, str]]:
    store = prepared.store(split)
    return sorted((text["question"], text["answer"]) for text in map(store.texts, range(len(store))))


def assert_kept(prepared: Prepared) -> None:
    for split in SPLITS:
        assert kept(prepared, split) == sorted(rows_of(split))


@pytest.mark.parametrize(
    ("pattern", "shards"),
    [
        ("{}.csv", 1),
        ("My_Set-{}.jsonl", 1),
        ("data/{}-0000{shard}-of-00003.parquet", 3),
        ("{}/part{shard}.csv", 2),
        ("en/{}_split/notes.jsonl", 1),
    ],
)
def test_own_splits_of_a_folder_are_kept(own: Callable[..., Path], cache: Path, pattern: str, shards: int) -> None:
    prepared = prepare_source(str(own(pattern, shards)))
    assert_kept(prepared)
    assert prepared.report["splits"] == SIZES
    assert {source["split"] for source in prepared.report["sources"]} == set(SPLITS)
    assert prepared.report["own_splits"] == {"kept": list(SPLITS), "left_out": 0, "validation_in_test": 0}


def test_own_splits_of_a_glob_are_kept(own: Callable[..., Path], cache: Path) -> None:
    assert_kept(prepare_source(str(own("sub/{}/notes.csv") / "**" / "*.csv")))


@pytest.mark.parametrize("scheme", ["hub", "kaggle"])
def test_own_splits_of_a_download_are_kept(
    own: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    folder = own("data/{}-00000-of-00001.parquet")
    monkeypatch.setattr(sources, "_download_from_hub", lambda name: folder)
    monkeypatch.setattr(sources, "download_dataset", lambda name: folder)
    assert_kept(prepare_source(f"{scheme}:clinic/blood-test"))


def test_splits_may_be_said_where_names_do_not(own: Callable[..., Path], cache: Path) -> None:
    folder = own("{}.csv")
    names = {"train": "a", "validation": "contest", "test": "c"}
    for split, name in names.items():
        (folder / f"{split}.csv").rename(folder / f"{name}.csv")
    entries = [{"path": str(folder / f"{name}.csv"), "split": split} for split, name in names.items()]
    prepared = prepare_source(entries)
    assert_kept(prepared)
    prepared = prepare_source([str(folder)])
    assert prepared.report["own_splits"] is None
    assert [source["split"] for source in prepared.report["sources"]] == [None] * 3


def test_an_unknown_split_is_refused() -> None:
    for split in ("tset", 3, ["test"], True):
        with pytest.raises(InputError) as caught:
            DialogueDataModule([{"path": "a.csv", "split": split}])
        assert repr(split) in caught.value.what
        assert "train, validation, test, mixed" in caught.value.hint


def test_mixed_splits_anew_as_if_the_names_said_nothing(own: Callable[..., Path], cache: Path) -> None:
    folder = own("{}.csv")
    mixed = prepare_source([{"path": str(folder), "split": "mixed"}])
    for split in SPLITS:
        (folder / f"{split}.csv").rename(folder / f"{'xyz'[SPLITS.index(split)]}.csv")
    order = [str(folder / f"{name}.csv") for name in "zxy"]  # as they were read: by name
    plain = prepare_source(order)
    for split in SPLITS:
        assert kept(mixed, split) == kept(plain, split)
        assert kept(mixed, split) != sorted(rows_of(split))
    assert mixed.report["own_splits"] is None


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_a_missing_split_is_cut_from_training(own: Callable[..., Path], cache: Path, missing: str) -> None:
    (there,) = {"validation", "test"} - {missing}
    prepared = prepare_source(str(own("{}.csv", splits=("train", there))), val_fraction=0.2, test_fraction=0.2)
    assert kept(prepared, there) == sorted(rows_of(there))
    cut = kept(prepared, missing)
    assert 3 < len(cut) < 25
    assert sorted([*cut, *kept(prepared, "train")]) == sorted(rows_of("train"))


def test_a_second_source_without_splits_is_split_by_the_fractions(
    own: Callable[..., Path], consultations: Callable[..., Path], cache: Path
) -> None:
    folder, other = own("{}.csv"), consultations(300, "other.csv", first=1_000)
    prepared = prepare_source([str(folder), {"path": str(other), "weight": 2}], val_fraction=0.1, test_fraction=0.2)
    for split in SPLITS:
        rows, store = kept(prepared, split), prepared.store(split)
        assert set(rows_of(split)) <= set(rows)
        assert int((store.sources == 0).sum()) == SIZES[split]
        assert int((store.sources == 1).sum()) > 10
    weights = {source["name"]: source["weight"] for source in prepared.report["sources"]}
    assert weights == {"test.csv": 1, "validation.csv": 1, "train.csv": 1, "other.csv": 2}


def test_training_rows_that_repeat_an_evaluation_question_are_counted_and_left_out(
    own: Callable[..., Path], cache: Path, tmp_path: Path
) -> None:
    folder = own("{}.csv")
    asked, answer = consultation(65)  # of validation, whose file comes last by name
    leaks = [
        (asked.upper(), "Take some rest and drink tea."),
        (asked, answer),
        (consultation(75)[0].replace(".", "!"), "Do see a doctor today."),
    ]
    write(folder / "train.csv", [*rows_of("train"), *leaks])
    prepared = prepare_source(str(folder))
    assert_kept(prepared)  # the exact copy is dropped from training, not from validation
    report = prepared.report
    assert (report["rules"]["duplicate"], report["rules"]["repeats_evaluation"]) == (1, 2)
    assert report["effects"]["repeats_evaluation"] == "dropped"
    assert report["rows_in"] == 95
    assert report["rows_out"] == sum(report["splits"].values()) == 92
    assert {each["name"]: each["rows_out"] for each in report["sources"]} == {f"{s}.csv": n for s, n in SIZES.items()}
    write_report(prepared, tmp_path / "report")
    print_report(prepared)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Repeats an evaluation question" in page
    assert "kept as they are" in page


def test_conversations_and_patients_keep_their_own_splits(cache: Path, tmp_path: Path) -> None:
    for split in SPLITS:
        with (tmp_path / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for number in range(FIRSTS[split], FIRSTS[split] + SIZES[split]):
                turns = [consultation(number), consultation(500 + number)]
                chat = [
                    {"role": role, "content": text}
                    for turn in turns
                    for role, text in zip(("user", "assistant"), turn, strict=True)
                ]
                patient = "seen twice" if number in (3, 75) else str(number)
                file.write(json.dumps({"chat": chat, "patient": patient}) + "\n")
    source = {"path": str(tmp_path / "*.jsonl"), "messages_column": "chat", "group_column": "patient"}
    prepared = prepare_source([source])
    assert prepared.report["splits"] == {**SIZES, "train": 59}
    assert prepared.report["rules"]["repeats_evaluation"] == 1
    for split in SPLITS:
        store = prepared.store(split)
        rows = [FIRSTS[split] + store.texts(row)["row"] for row in range(len(store))]
        assert rows == [n for n in range(FIRSTS[split], FIRSTS[split] + SIZES[split]) if n != 3]


def test_a_renamed_file_is_another_preparation_of_other_splits(own: Callable[..., Path], cache: Path) -> None:
    folder = own("{}.csv", splits=("train", "test"))
    first = prepare_source(str(folder))
    assert prepare_source(str(folder)).cached
    (folder / "test.csv").rename(folder / "dev.csv")
    other = prepare_source(str(folder))
    assert not other.cached
    assert other.fingerprint != first.fingerprint
    assert kept(other, "validation") == sorted(rows_of("test"))


def test_the_split_that_is_said_is_in_the_key_of_the_tokens_alone(
    consultations: Callable[..., Path], cache: Path
) -> None:
    files = [str(consultations(60, "b.csv")), str(consultations(20, "a.csv", first=100))]
    made = [
        prepare_source([{"path": files[0], "split": split}, {"path": files[1], "split": "train"}])
        for split in ("test", "validation")
    ]
    assert len({prepared.fingerprint for prepared in made}) == len(left_in(cache)) == 2
    assert len(rows_left_in(cache)) == 1


def test_sources_without_own_splits_give_the_tokens_of_a_single_table(
    consultations: Callable[..., Path], cache: Path, tmp_path: Path
) -> None:
    """A file for training alone is a table like any: it is split by the same rule, to the byte."""
    rows = list(csv.reader(consultations(80).open(encoding="utf-8")))[1:]
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "one" / "notes.csv", [tuple(row) for row in rows])
    write(tmp_path / "two" / "notes.csv", [tuple(row) for row in rows])
    plain = prepare_source(str(tmp_path / "one"))
    trained = prepare_source([{"path": str(tmp_path / "two"), "split": "train"}])
    assert trained.fingerprint == plain.fingerprint
    assert tables_of(trained.folder) == tables_of(plain.folder)


def test_an_own_split_that_cleaning_empties_is_refused(own: Callable[..., Path], cache: Path) -> None:
    folder = own("{}.csv")
    write(folder / "test.csv", [("My ear hurts.", ""), ("My toe hurts.", "Rest.")])
    with pytest.raises(InputError) as caught:
        prepare_source(str(folder))
    assert "test.csv: no test row is left" in caught.value.what


def test_own_splits_without_training_rows_train_no_tokenizer(own: Callable[..., Path], cache: Path) -> None:
    with pytest.raises(InputError, match="no row to train on"):
        prepare_source(str(own("{}.csv", splits=("validation", "test"))))


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        (SPLITS, "own splits: train 60 rows (train.csv), validation 12 (validation.csv), test 20 (test.csv);"
                 " val_fraction and test_fraction are not used."),
        (("train", "test"), "own splits: train 5? rows (train.csv), validation ? (by val_fraction), test 20 (test.csv);"
                            " test_fraction is not used."),
        (("test",), "Every file is named as test: there is nothing to keep apart, so the fractions split the rows."),
        (("train",), ""),
    ],
)  # fmt: skip
def test_one_line_says_which_splits_were_kept(
    own: Callable[..., Path], cache: Path, capsys: pytest.CaptureFixture[str], splits: tuple[str, ...], said: str
) -> None:
    module = DialogueDataModule(str(own("{}.csv", splits=splits)), "train", 400, max_length=128)
    module.prepare_data()
    module.setup()
    out = capsys.readouterr().out.strip()
    assert np.all([a == b or b == "?" for a, b in zip(out, said, strict=True)]), out


def test_rows_that_are_given_as_training_stay_there(consultations: Callable[..., Path], cache: Path) -> None:
    given, mixed = consultations(60, "a.csv"), consultations(60, "b.csv", first=1_000)
    entries = [{"path": str(given), "split": "train"}, {"path": str(mixed), "split": "mixed"}]
    prepared = prepare_source(entries, val_fraction=0.2, test_fraction=0.2)
    assert all(set(prepared.store(split).sources.tolist()) == {1} for split in ("validation", "test"))
    line = describe_own_splits(prepared.report)
    assert line is not None
    assert "(a.csv)" in line
    assert "b.csv split by the fractions" in line
    alone = prepare_source(entries[:1])
    assert alone.report["splits"]["test"]
    assert "so the fractions split the rows" in str(describe_own_splits(alone.report))
