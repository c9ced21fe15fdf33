"""An owner's own splits are recognised by names, kept to the row, and never trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets.data_files import DataFilesDict, get_data_patterns
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.data.sources import table_places
from lightning_med.data.splits import own_splits
from lightning_med.data.splits.group_split import BY_FRACTIONS, LEFT_OUT, OwnAssignment, assign_splits, keep_own_splits
from lightning_med.data.splits.own_splits import MIXED, find_file_splits, sort_held_first
from lightning_med.utils.errors import InputError
from tests.data.test_splits import QUESTIONS, groups_of

TRAIN, VALIDATION, TEST = range(3)
WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}


def find(*names: str, given: str | None = None) -> list[str | None]:
    """The splits of the files of one folder; empty where there is none to keep."""
    return list(find_file_splits([(0, Path("/data") / name) for name in names], ["/data"], [given]))


def find_in(*sources: tuple[str, ...], given: tuple[str | None, ...] = ()) -> list[str | None]:
    """The splits of the files of several sources."""
    files = [(number, Path(name)) for number, names in enumerate(sources) for name in names]
    return list(find_file_splits(files, [names[0] for names in sources], given or (None,) * len(sources)))


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("test.csv", "train.csv", "validation.csv"), ["test", "train", "validation"]),
        (("Test.csv", "TRAIN.CSV", "Dev.csv"), ["test", "train", "validation"]),
        (("data/test-00000-of-00001.parquet", "data/train-00000-of-00003.parquet"), ["test", "train"]),
        (("en/train_sft-00000-of-00001.parquet", "en/test_sft-00000-of-00001.parquet"), ["train", "test"]),
        (("train/part1.csv", "train/part2.csv", "eval/part1.csv"), ["train", "train", "test"]),
        (("a/b/training/1.jsonl", "a/c/testing/1.jsonl"), ["train", "test"]),
        (("my_set_test.jsonl", "my_set_train.jsonl"), ["test", "train"]),
        (("notes train 2024.csv", "notes (val).csv"), ["train", "validation"]),
        (("train1.csv", "valid1.csv"), ["train", "validation"]),
        (("validation.csv", "test.csv"), ["validation", "test"]),
        (("TrainSet.csv", "TestSet.csv"), ["train", "test"]),
        (("trainData/1.csv", "testData/1.csv", "valData/1.csv"), ["train", "test", "validation"]),
        (("myTrain.csv", "myTest2.csv", "myDevSet.csv"), ["train", "test", "validation"]),
    ],
)
def test_names_say_which_split_a_file_is_of(names: tuple[str, ...], splits: list[str]) -> None:
    assert find(*names) == splits


@pytest.mark.parametrize(
    "word", ["contest", "trainer", "testimony", "evaluator", "device", "retrain", "latest", "TESTIMONY", "Trainer"]
)
def test_a_word_inside_another_is_no_split(word: str) -> None:
    names = (f"{word}.csv", f"{word}/notes.csv", f"my_{word}-1.csv")
    assert find(*names) == find(*names, "train.csv") == []


@given(
    st.sampled_from([(split, word) for split, words in WORDS.items() for word in words]),
    st.sampled_from(["", "my_", "a-", "2024", "x."]),
    st.sampled_from(["", "_1", "-00000-of-00001", " 2", ".v2"]),
    st.booleans(),
)
def test_each_word_of_hugging_face_datasets_counts_between_its_delimiters(
    word: tuple[str, str], before: str, after: str, upper: bool
) -> None:
    name = f"{before}{word[1].upper() if upper else word[1]}{after}"
    others = {"train": "test", "validation": "test", "test": "train"}
    for path in (f"{name}.csv", f"{name}/part.csv"):
        assert find(path, f"{others[word[0]]}.csv") == [word[0], others[word[0]]]


@pytest.mark.parametrize(
    "names",
    [
        ("train.csv", "val.csv", "test.csv"),
        ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet"),
        ("my_set-training.csv", "my_set.dev.csv", "2024 eval.csv"),
        ("training/a.csv", "valid/b.csv", "testing_2/c.csv"),
    ],
)
def test_names_mean_what_they_mean_to_hugging_face_datasets(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("input,output\n")
    found = DataFilesDict.from_patterns(get_data_patterns(str(tmp_path)), base_path=str(tmp_path))
    theirs = {str(Path(file).relative_to(tmp_path)): str(split) for split, files in found.items() for file in files}
    assert dict(zip(names, find(*names), strict=True)) == theirs


@pytest.mark.parametrize(
    "names",
    [
        ("notes.csv",),
        ("test.csv",),  # a file alone is just a table
        ("train_test.csv",),
        ("train.csv",),
        ("test-1.csv", "test-2.csv"),  # nothing to keep apart
        ("test/train.csv", "test/train-2.csv"),
        ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"),
        ("train.csv", "more.csv"),  # neither is of validation or test
    ],
)
def test_where_nothing_is_to_be_kept_apart_the_fractions_split_all(names: tuple[str, ...]) -> None:
    assert find(*names) == []


def test_mixed_means_that_names_say_nothing() -> None:
    assert find("train.csv", "test.csv", "notes.csv", given=MIXED) == []
    assert find_in(("/a/train.csv", "/a/test.csv"), ("/b/test.csv", "/b/x.csv"), given=(None, MIXED)) == [
        "train",
        "test",
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (("train.csv", "test.csv", "holdout.csv"), ("test.csv", "holdout.csv")),
        (("notes.csv", "blood-test.csv"), ("blood-test.csv", "notes.csv")),
        (("train-test.csv", "test.csv"), ("train-test.csv", "of train or of test")),
        (("test/train.csv", "train/test.csv", "train/x.csv"), ("test/train.csv", "of train or of test")),
    ],
)
def test_what_names_leave_open_is_asked(names: tuple[str, ...], named: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        find(*names)
    assert all(part in caught.value.what for part in named)
    assert "split: test" in caught.value.hint
    assert f"{{path: /data, split: {MIXED}}}" in caught.value.hint


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train.zip/notes.csv", "test.zip/notes.csv"), ["train", "test"]),
        (("train.ZIP/notes.csv", "Test.Zip/notes.csv"), ["train", "test"]),
        (("train.xlsx/Patients", "test.xlsx/Patients"), ["train", "test"]),
        (("my_train.XLSX/Patients", "my-test.ods/Sheet1"), ["train", "test"]),
        (("train.xlsx/Patients", "test.csv"), ["train", "test"]),
        (("all.xlsx/train", "all.xlsx/test"), ["train", "test"]),
        (("blood-test.xlsx/train", "blood-test.xlsx/dev"), ["train", "validation"]),  # the sheets say it
        (("data.zip/train.xlsx/P", "data.zip/test.xlsx/P"), ["train", "test"]),
        (("train.xlsx/January", "train.xlsx/February"), []),
    ],
)
def test_archives_and_workbooks_say_it_as_files_do(names: tuple[str, ...], splits: list[str]) -> None:
    assert find_in(*((f"/data/{name}",) for name in names)) == splits
    assert own_splits.WORKBOOKS == table_places.WORKBOOKS


def test_each_source_speaks_for_itself() -> None:
    own = ("/own/train.csv", "/own/test.csv")
    assert find_in(own, ("/other/notes.csv",)) == ["train", "test", None]
    assert find_in(("/a/train.csv",), ("/b/test.csv",)) == ["train", "test"]  # files that are named one by one
    assert find_in(("/a/notes.csv",), ("/b/blood-test.csv",)) == [None, "test"]
    assert find_in(("/a/x.csv",), ("/b/y.csv",), given=("train", "validation")) == ["train", "validation"]
    assert find_in(("/a/x.csv",), given=("test",)) == ["test"]
    assert find_in(("/a/test.csv", "/a/train.csv"), given=("train",)) == []  # a word that is given wins


@pytest.mark.parametrize("name", ["b.csv", "train.csv"])
@pytest.mark.parametrize("other", [None, MIXED])
def test_a_source_that_is_given_as_training_is_kept_beside_another(name: str, other: str | None) -> None:
    assert find_in(("/a/a.csv",), (f"/b/{name}",), given=("train", other)) == ["train", None]
    assert find_in(("/a/a.csv",), (f"/b/{name}",), given=("train", "train")) == []


def test_directories_of_sources_count_only_beside_one_for_training() -> None:
    assert find_in(("/set/train/1.csv", "/set/train/2.csv"), ("/set/test/1.csv",)) == ["train", "train", "test"]
    assert find_in(("/home/dev/a.csv",), ("/home/notes/b.csv",)) == []
    assert find_in(("/home/test/a.csv",), ("/home/notes/b.csv",)) == []
    assert find_in(("/test/own/a.csv", "/test/own/b.csv"), ("/test/other/c.csv",)) == []


def test_own_test_files_are_read_first() -> None:
    files = [(0, Path(name)) for name in ("train.csv", "validation.csv", "a.csv", "test.csv")]
    held, splits = sort_held_first(files, ("train", "validation", None, "test"))
    assert [file.name for _, file in held] == ["test.csv", "validation.csv", "train.csv", "a.csv"]
    assert splits == ("test", "validation", "train", None)
    assert sort_held_first(files, ()) == (files, ())


# The sides of rows


def keep(own: list[int], questions: list[str] = QUESTIONS, **others: Any) -> OwnAssignment:
    """Sides of the first questions, with a seed of 42 and fractions of 0.2 and 0.1."""
    patients = others.pop("patients", None)
    groups = groups_of(questions[: len(own)], patients)
    keys = np.arange(len(own), dtype=np.uint64) * np.uint64(7919)
    settings = {"seed": 42, "test_fraction": 0.2, "val_fraction": 0.1, **others}
    return keep_own_splits(groups, keys, np.array(own, np.int8), **settings)


def test_own_splits_are_kept_to_the_row() -> None:
    own = [TRAIN] * 60 + [VALIDATION] * 20 + [TEST] * 20
    assert keep(own).sides.tolist() == own


def test_a_split_that_is_missing_is_cut_from_training() -> None:
    found = keep([TRAIN] * 400 + [TEST] * 20).sides
    assert (found[400:] == TEST).all()
    assert set(found[:400].tolist()) == {TRAIN, VALIDATION}
    assert 0.05 < (found[:400] == VALIDATION).mean() < 0.15
    found = keep([TRAIN] * 400 + [VALIDATION] * 20).sides
    assert set(found[:400].tolist()) == {TRAIN, TEST}
    assert 0.14 < (found[:400] == TEST).mean() < 0.26
    assert set(keep([TRAIN] * 400 + [TEST] * 20, val_fraction=0.0).sides.tolist()) == {TRAIN, TEST}
    assert set(keep([TRAIN] * 4 + [TEST] * 20).sides[:4].tolist()) == {TRAIN, VALIDATION}  # in a small table too


def test_rows_of_no_own_split_are_split_by_the_fractions() -> None:
    found = keep([TRAIN] * 60 + [VALIDATION] * 20 + [TEST] * 20 + [BY_FRACTIONS] * 600).sides
    assert (found[:60] == TRAIN).all()
    assert (found[60:80] == VALIDATION).all()
    assert 0.14 < (found[100:] == TEST).mean() < 0.26
    assert 0.06 < (found[100:] == VALIDATION).mean() < 0.14
    assert keep([TRAIN] * 9 + [TEST] + [BY_FRACTIONS]).sides[10] >= 0  # one row alone need not fill every side


@pytest.mark.parametrize("rows", [2, 3, 600])
def test_a_missing_split_is_taken_from_rows_of_no_own_split_where_there_are_any(rows: int) -> None:
    found = keep([TRAIN] * 60 + [BY_FRACTIONS] * rows).sides
    assert (found[:60] == TRAIN).all()
    assert {VALIDATION, TEST} <= set(found[60:].tolist())
    repeats = keep([TRAIN] * 60 + [BY_FRACTIONS] * 60, [*QUESTIONS[:60], *QUESTIONS[:60]]).sides
    assert set(repeats.tolist()) == {TRAIN, VALIDATION, TEST}  # none is free of training rows


def test_without_own_splits_the_fractions_decide_as_ever() -> None:
    keys = np.arange(500, dtype=np.uint64) * np.uint64(7919)
    expected = assign_splits(groups_of(QUESTIONS[:500]), keys, 42, 0.2, 0.1)[0]
    for own in (BY_FRACTIONS, TRAIN):
        assert np.array_equal(keep([own] * 500).sides, expected)


def test_training_rows_that_repeat_an_evaluation_question_are_left_out() -> None:
    questions = [*QUESTIONS[:40], QUESTIONS[31].upper(), QUESTIONS[36], QUESTIONS[5], QUESTIONS[31]]
    own = [TRAIN] * 30 + [VALIDATION] * 5 + [TEST] * 5 + [TRAIN, TRAIN, TRAIN, BY_FRACTIONS]
    found = keep(own, questions).sides
    assert found[:40].tolist() == own[:40]
    assert found[40:].tolist() == [LEFT_OUT, LEFT_OUT, TRAIN, LEFT_OUT]


def test_rows_of_no_own_split_go_with_the_training_rows_of_their_group() -> None:
    questions = [*QUESTIONS[:100], *QUESTIONS[:90]]
    found = keep([TRAIN] * 90 + [VALIDATION] * 5 + [TEST] * 5 + [BY_FRACTIONS] * 90, questions).sides
    assert (found[100:] == TRAIN).all()


def test_training_rows_of_a_tested_patient_are_left_out() -> None:
    found = keep([TRAIN, TRAIN, TEST, VALIDATION], patients=[7, 0, 7, 0]).sides
    assert found.tolist() == [LEFT_OUT, TRAIN, TEST, VALIDATION]


def test_validation_rows_that_repeat_a_test_question_are_counted_and_stay() -> None:
    questions = [*QUESTIONS[:20], QUESTIONS[19]]
    found = keep([TRAIN] * 15 + [TEST] * 5 + [VALIDATION], questions)
    assert found.sides[20] == VALIDATION
    assert found.validation_in_test == 1


def test_all_training_rows_left_out_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        keep([TRAIN, TRAIN, TEST], [QUESTIONS[0], QUESTIONS[0].upper(), QUESTIONS[0]])
    assert "Every training row repeats" in caught.value.what
    assert MIXED in caught.value.hint


@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 25)), min_size=30, max_size=60), st.integers(0, 5))
def test_no_question_is_trained_on_that_is_evaluated(rows: list[tuple[int, int]], seed: int) -> None:
    rows = [*rows, (TRAIN, 30), (TRAIN, 31), (TRAIN, 32), (VALIDATION, 33), (TEST, 34)]
    own, questions = [split for split, _ in rows], [QUESTIONS[number * 100] for _, number in rows]
    found = keep(own, questions, seed=seed).sides.tolist()
    assert all(side == split for side, split in zip(found, own, strict=True) if split > 0)
    sides: dict[str, set[int]] = {}
    for question, side in zip(questions, found, strict=True):
        sides.setdefault(question, set()).add(side)
    assert not any(TRAIN in each and each & {VALIDATION, TEST} for each in sides.values())
