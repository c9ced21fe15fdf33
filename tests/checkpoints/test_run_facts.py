"""What is known of a run by its folder, whatever the folder holds."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.checkpoints.checkpoint_files import find_best_checkpoint
from lightning_med.checkpoints.run_facts import Status, read_facts
from lightning_med.checkpoints.run_folder import hold_lock
from lightning_med.checkpoints.run_groups import Comparison
from tests.checkpoints.runs import make_run, write_test


def test_the_best_validation_is_the_lowest_and_not_the_last(tmp_path: Path) -> None:
    facts = read_facts(make_run(tmp_path, perplexities=(9.0, 7.5, 8.0)))
    assert facts.validation is not None
    assert (facts.validation.step, facts.perplexity, facts.validation.bits_per_byte) == (20, 7.5, 0.75)
    assert (facts.steps_done, facts.steps_planned) == (30, 20)
    assert (facts.data, facts.base, facts.name) == ("consultations.csv", "smollm2", "tiny/version_0")


@pytest.mark.parametrize(
    ("end", "status"),
    [("epochs", "finished"), ("early stopping", "finished"), ("time", "out of time"), ("", "interrupted")],
)
def test_the_status_is_the_recorded_end(tmp_path: Path, end: str, status: str) -> None:
    assert str(read_facts(make_run(tmp_path, end=end)).status) == status


def test_a_run_whose_lock_is_held_is_running_whatever_it_recorded(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with hold_lock(run):
        assert read_facts(run).status is Status.RUNNING
        (run / "config.yaml").unlink()
        assert read_facts(run).status is Status.RUNNING
    assert read_facts(run).status is Status.BROKEN


def test_asking_whether_a_run_is_trained_leaves_its_lock_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    read_facts(run)
    assert not (run / ".lock").exists()
    with hold_lock(run):
        read_facts(run)
    with hold_lock(run):  # free again
        pass


@pytest.mark.parametrize(
    ("code", "end", "status"),
    [
        (errno.EWOULDBLOCK, "", "running"),
        (errno.ENOLCK, "", "unknown"),
        (errno.ENOTSUP, "", "unknown"),
        (errno.ENOLCK, "epochs", "finished"),
    ],
)
def test_without_locks_a_run_is_not_taken_for_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, end: str, status: str
) -> None:
    fcntl = pytest.importorskip("fcntl")
    run = make_run(tmp_path, end=end)
    (run / ".lock").touch()

    def refuse(*args: object) -> None:
        raise OSError(code, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert str(read_facts(run).status) == status


def test_a_run_of_an_earlier_release_has_no_end_and_is_not_compared(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, version=number) for number in range(2)]
    for run in runs:
        (run / "run.json").unlink()
    facts = [read_facts(run) for run in runs]
    assert {one.status for one in facts} == {Status.ENDED}
    comparison = Comparison.of(facts)
    assert comparison.unknown == facts
    assert not comparison.groups


def test_an_empty_folder_is_an_empty_run(tmp_path: Path) -> None:
    run = tmp_path / "tiny" / "version_0"
    run.mkdir(parents=True)
    (run / ".lock").touch()
    assert read_facts(run).status is Status.EMPTY


@pytest.mark.parametrize(
    ("settings", "data", "base"),
    [
        ({"data": {"source": "kaggle:a/doctor-100k"}, "model": {"base": "distilgpt2"}}, "doctor-100k", "distilgpt2"),
        (
            {"data": {"source": ["a/b.csv", {"path": "c.csv"}]}, "model": {"from_scratch": {"n_layer": 1}}},
            "b.csv +1",
            "new gpt2",
        ),
        ({"data": {"source": [{"path": "c/d.csv"}]}, "model": {"base": "x/y/"}}, "d.csv", "y"),
        ({"data": None, "model": []}, "", ""),
    ],
)
def test_data_and_base_are_named_in_a_word(tmp_path: Path, settings: dict[str, Any], data: str, base: str) -> None:
    run = make_run(tmp_path)
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    facts = read_facts(run)
    assert (facts.data, facts.base) == (data, base)


def test_a_test_on_other_data_is_told_apart(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_test(run, 8.0)
    assert not read_facts(run).is_tested_elsewhere
    write_test(run, 8.0, rows="test-2")
    assert read_facts(run).is_tested_elsewhere
    assert read_facts(run).test_perplexity == 8.0


def test_a_line_that_is_not_complete_and_a_figure_that_is_not_finite_do_not_count(tmp_path: Path) -> None:
    run = make_run(tmp_path, perplexities=(float("nan"), float("inf"), 8.0))
    with (run / "metrics.csv").open("a") as file:
        file.write("0,39,,0.1,1")  # cut off: it was to be 12.5
    facts = read_facts(run)
    assert (facts.perplexity, facts.steps_done) == (8.0, 30)
    with (run / "metrics.csv").open("a") as file:
        file.write("2.5\n0,49,,0")
    assert (read_facts(run).perplexity, read_facts(run).steps_done) == (8.0, 40)


@pytest.mark.parametrize("value", ["1" + "0" * 400, "1e400", "NaN", "true", '"8"'])
def test_a_test_result_that_is_no_finite_number_is_none(tmp_path: Path, value: str) -> None:
    run = make_run(tmp_path)
    (run / "test.json").write_text(f'{{"test/perplexity": {value}}}')
    assert read_facts(run).test_perplexity is None


@given(
    name=st.sampled_from(["config.yaml", "run.json", "metrics.csv", "test.json"]),
    content=st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(str.encode),
        st.sampled_from([b"{}", b"[]", b"1", b"null", b"data: []", b'{"steps": "a"}', b"step,val/perplexity\n1,2"]),
    ),
)
def test_whatever_a_file_holds_there_is_an_answer(name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder))
        (run / name).write_bytes(content)
        facts = read_facts(run)
        Comparison.of([facts])
        if facts.status is Status.BROKEN:
            assert facts.problem


def test_a_folder_that_may_not_be_listed_is_a_broken_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "tiny" / "version_0"
    run.mkdir(parents=True)

    def refuse(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    facts = read_facts(run)
    assert (facts.status, facts.problem) == (Status.BROKEN, "its folder cannot be read: Permission denied")


def test_a_file_in_the_place_of_a_run_is_broken_and_nothing_is_empty(tmp_path: Path) -> None:
    (tmp_path / "version_0").touch()
    assert [read_facts(tmp_path / name).status for name in ("version_0", "version_1")] == [Status.BROKEN, Status.EMPTY]


@pytest.mark.parametrize("name", ["checkpoints", "version_0"])
def test_checkpoints_in_a_folder_that_may_not_be_entered_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = make_run(tmp_path)
    assert find_best_checkpoint(run) == run / "checkpoints" / "last.ckpt"
    find = os.stat

    def refuse(path: Any, *args: Any, **options: Any) -> os.stat_result:
        if name in Path(path).parts[:-1]:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return find(path, *args, **options)

    monkeypatch.setattr(os, "stat", refuse)
    assert find_best_checkpoint(run) is None


@pytest.mark.parametrize("name", ["config.yaml", "run.json", "metrics.csv", "test.json", "checkpoints"])
def test_a_folder_in_the_place_of_a_file_is_no_error(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path)
    if name == "checkpoints":
        (run / name / "last.ckpt").unlink()
        (run / name).rmdir()
        (run / name).touch()
    else:
        (run / name).unlink(missing_ok=True)
        (run / name).mkdir()
    read_facts(run)
