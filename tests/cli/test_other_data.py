"""An evaluation of the run's own data takes its own split; of another table, every row that was not trained on."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests import tiny
from tests.cli.helpers import read_json, run_refused, write_small_config


def evaluate(verb: str, run: Path, target: Path, *options: object) -> str:
    """Runs a verb with the checkpoint of a run; returns what it said."""
    argv = (verb, "--ckpt_path", run / "checkpoints" / "last.ckpt", "--output", target, *options)
    status, out, err = tiny.command(*argv, cwd=target.parent)
    assert status == 0, err
    return out


def read_rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize(("verb", "split"), [("test", "test"), ("validate", "validation"), ("predict", "test")])
def test_all_rows_of_another_table_count(run: Path, tmp_path: Path, verb: str, split: str, rows: int) -> None:
    other = tiny.table(tmp_path / "test.csv", rows, seed=9)
    said = evaluate(verb, run, tmp_path / "result", "--data.source", other)
    assert f"{split}: all {rows} rows of test.csv count. " in said
    assert "fractions split" not in said
    if verb == "predict":
        lines = (tmp_path / "result").read_text(encoding="utf-8").splitlines()
        assert sorted(json.loads(line)["row"] for line in lines) == list(range(rows))


def test_moved_data_of_the_run_are_its_own(run: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.copy(folder / "consultations.csv", tmp_path / "elsewhere" / "consultations.csv")
    for verb in ("test", "validate"):
        assert "count" not in evaluate(verb, run, tmp_path / "moved.json", "--data.source", moved)
        evaluate(verb, run, tmp_path / "own.json")
        assert read_json(tmp_path / "moved.json") == read_json(tmp_path / "own.json")


def test_rows_that_were_trained_on_do_not_count(run: Path, folder: Path, tmp_path: Path) -> None:
    known, new = read_rows(folder / "consultations.csv"), read_rows(tiny.table(tmp_path / "new.csv", 10, seed=9))
    with (tmp_path / "both.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([*new, *known[1:]])
    said = evaluate("predict", run, tmp_path / "rows.jsonl", "--data.source", tmp_path / "both.csv")
    rows = [json.loads(line)["row"] for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert set(range(10)) < set(rows)
    assert 20 < len(rows) < 40  # of 70: the run was trained on some 42
    assert f"test: {len(rows)} of 70 rows of both.csv count; {70 - len(rows)} were trained on and are left out." in said


@pytest.mark.parametrize("fractions", [("--data.test_fraction", "0.2"), ("--data.test_fraction=0.5",)])
def test_a_fraction_that_is_given_is_honoured(run: Path, tmp_path: Path, fractions: tuple[str, ...]) -> None:
    other = tiny.table(tmp_path / "other.csv", 40, seed=9)
    said = evaluate("predict", run, tmp_path / "rows.jsonl", "--data.source", other, *fractions)
    assert "count" not in said
    assert 2 < len((tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()) < 30


def test_a_data_set_with_splits_is_trained_validated_and_tested_by_them(folder: Path, tmp_path: Path) -> None:
    """The whole way: a fit, its own test, and the test file named alone give the same figures."""
    own = tmp_path / "set"
    own.mkdir()
    for seed, (split, rows) in enumerate({"train": 50, "validation": 8, "test": 14}.items()):
        table = tiny.table(own / f"{split}.csv", rows, seed)
        table.write_text(table.read_text(encoding="utf-8").replace("Case ", f"The {split} case "), encoding="utf-8")
    content = yaml.safe_load(write_small_config(folder, tmp_path).read_text(encoding="utf-8"))
    content["data"]["source"] = str(own)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    status, out, err = tiny.command("fit", "--config", tmp_path / "own.yaml", cwd=tmp_path)
    assert status == 0, err
    assert "own splits: train 50 rows (train.csv), validation 8 (validation.csv), test 14 (test.csv);" in out
    run = tmp_path / "lightning_logs" / "own" / "version_0"
    for name, options in (("own", ()), ("alone", ("--data.source", own / "test.csv"))):
        said = evaluate("test", run, tmp_path / f"{name}.json", *options)
        assert ("all 14 rows of test.csv count" in said) == (name == "alone")
    ours, alone = (read_json(tmp_path / f"{name}.json") for name in ("own", "alone"))
    assert ours["test/tokens"] == alone["test/tokens"]
    assert ours["test/loss"] == pytest.approx(alone["test/loss"], rel=1e-6)
    argv = ("test", "--ckpt_path", run / "checkpoints" / "last.ckpt", "--data.source", own / "train.csv")
    assert "50 of 50 test rows were trained on: none is left" in run_refused(*argv, cwd=tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    for seed, split in enumerate(("train", "validation")):
        tiny.table(other / f"{split}.csv", 9, seed + 7)
    refused = run_refused(*argv[:4], other, cwd=tmp_path)
    assert "has own splits, train and validation, but no test split" in refused
    assert "split: mixed" in refused
    said = evaluate("validate", run, tmp_path / "other.json", "--data.source", other)
    assert "rows of validation.csv count" in said
    assert "train.csv" not in said
    said = evaluate("test", run, tmp_path / "set.json", "--data.source", f"[{{path: {own}}}]")
    assert "count" not in said  # the run's own data, said otherwise


def test_a_run_that_was_checked_is_evaluated_on_the_table(folder: Path, tmp_path: Path) -> None:
    """The rows of a public test are left out of the run's own data, and count where that test is evaluated."""
    content = yaml.safe_load(write_small_config(folder, tmp_path).read_text(encoding="utf-8"))
    public = tmp_path / "public.csv"
    with public.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(read_rows(folder / "consultations.csv")[:8])
    content["data"]["check_against"] = [str(public)]
    (tmp_path / "checked.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    status, out, err = tiny.command("fit", "--config", tmp_path / "checked.yaml", cwd=tmp_path)
    assert status == 0, err
    assert "check_against: 7 rows left out of all splits. public.csv (7 rows): 7 equal or nearly" in out
    run = tmp_path / "lightning_logs" / "checked" / "version_0"
    for options in ((), ("--data.test_fraction", "1", "--data.val_fraction", "0")):
        evaluate("predict", run, tmp_path / "rows.jsonl", "--data.source", public, *options, "--overwrite", "true")
        assert len((tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()) == 7
    (tmp_path / "moved").mkdir()
    moved = shutil.copy(folder / "consultations.csv", tmp_path / "moved" / "consultations.csv")
    own = [evaluate("test", run, tmp_path / "own.json", *options) for options in ((), ("--data.source", moved))]
    assert not [said for said in own if "count" in said]
    lines = (run / "config.yaml").read_text(encoding="utf-8")
    assert "check_against:" in lines
    public.write_text(public.read_text(encoding="utf-8") + "Is it more?,Yes it is one more row.\n", encoding="utf-8")
    longer = ("--resume", "auto", "--trainer.max_steps", "4")
    status, _, err = tiny.command("fit", "--config", run / "config.yaml", *longer, cwd=tmp_path)
    assert status == 2
    assert "its data differs in check_against" in err


def test_a_split_without_rows_is_refused(folder: Path, run: Path, tmp_path: Path) -> None:
    checkpoint = ("--ckpt_path", run / "checkpoints" / "last.ckpt")
    for verb, split in (("validate", "val"), ("predict", "test")):
        lines = run_refused(verb, *checkpoint, f"--data.{split}_fraction", "0", cwd=tmp_path)
        assert f"{verb}: no row is in the" in lines
        assert f"--data.{split}_fraction 0." in lines
    config = write_small_config(folder, tmp_path)
    all_rows = ("--data.test_fraction", "1", "--data.val_fraction", "0")
    lines = run_refused("fit", "--config", config, *all_rows, cwd=tmp_path)
    assert "leave nothing to train on" in lines
    assert " ".join(all_rows) in lines
    said = evaluate("test", run, tmp_path / "x.json", "--data.source", tiny.table(tmp_path / "x.csv", 5, 9), *all_rows)
    assert "all 5 rows" in said
