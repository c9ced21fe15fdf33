"""Several processes: they share the work and the cache."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation import pipeline
from lightning_med.data.preparation.pipeline import prepare
from lightning_med.data.preparation.worker_pool import WorkerPool
from lightning_med.data.sources import table_files
from lightning_med.utils.errors import InputError
from tests.data.preparation.helpers import everything, left_in, recipe, rows_left_in, tables_of
from tests.data.preparation.processes import run


@pytest.mark.slow
def test_two_processes_make_one_copy(cache: Path, consultations: Callable[..., Path]) -> None:
    code = "sys.stdin.readline()\nprint_report(preparation.prepare(recipe))"  # both are ready before either begins
    source = consultations(600)
    both = [run(code, source) for _ in range(2)]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = sorted(process.communicate(timeout=120)[0].splitlines()[-1] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    (folder,) = left_in(cache)
    assert len(rows_left_in(cache)) == 1
    assert printed == [f"found in the cache: {cache / folder}", f"prepared: {cache / folder}"]


@pytest.mark.parametrize("near", [True, False])
def test_number_of_processes_changes_no_byte(
    consultations: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, near: bool
) -> None:
    monkeypatch.setattr(table_files, "CHUNK", 20)
    source, made = consultations(200), []
    for processes in (1, 2):
        monkeypatch.setattr(pipeline, "_SMALL", 0)
        monkeypatch.setattr(pipeline, "count_cores", lambda processes=processes: processes)
        made.append(prepare(recipe(source, near_duplicates=near), str(tmp_path / str(processes))))
    one, two = made
    assert tables_of(one.folder).keys() >= {"train.arrow", "train.parquet", "test.arrow", "tokenizer.txt"}
    assert tables_of(one.folder) == tables_of(two.folder)
    assert one.report == two.report
    assert one.fingerprint == two.fingerprint


def test_number_of_processes_changes_no_byte_of_conversations_and_several_sources(
    chats_and_tables: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts and replacements come back in the order of the rows too."""
    monkeypatch.setattr(table_files, "CHUNK", 15)
    monkeypatch.setattr(pipeline, "_SMALL", 0)
    settings: dict[str, Any] = {"rules": {"cut_answer": True}, "on_bad_row": "drop", "max_length": 256}
    module = DialogueDataModule(chats_and_tables, "train", 400, **settings)
    made = []
    for processes in (1, 2):
        monkeypatch.setattr(pipeline, "count_cores", lambda processes=processes: processes)
        made.append(prepare(module.recipe, str(tmp_path / str(processes))))
    one, two = made
    assert tables_of(one.folder) == tables_of(two.folder)
    assert one.report == two.report
    assert one.report["bad_rows"] == 10
    assert {texts["source"] for texts, *_ in everything(one)["train"]} == set(one.report["files"])


def test_interrupt_from_the_terminal_is_for_the_command_to_answer() -> None:
    """A terminal sends SIGINT to all processes at once; those of the pool ignore it and end with the command."""
    with WorkerPool(2) as pool:
        assert list(pool.map_ordered(abs, range(-4, 0))) == [4, 3, 2, 1]
        workers = [psutil.Process(pid) for pid in pool._executor._processes]
        assert len(workers) == 2
        for worker in workers:
            worker.send_signal(signal.SIGINT)
        psutil.wait_procs(workers, timeout=1)
        assert list(pool.map_ordered(abs, range(-4, 0))) == [4, 3, 2, 1]


def test_input_error_of_another_process_is_raised(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_SMALL", 0)
    monkeypatch.setattr(pipeline, "count_cores", lambda: 2)
    with pytest.raises(InputError, match="leaves no room"):
        prepare(recipe(consultations(), system_prompt="Be very kind. " * 60))
    assert left_in(cache) == []


@pytest.mark.slow
def test_two_processes_of_other_lengths_share_clean_rows(cache: Path, consultations: Callable[..., Path]) -> None:
    """One of them cleans, the other waits for it."""
    code = (
        "import dataclasses, sys\n"
        "clean_rows = preparation.clean_rows\n"
        "def cleaned(*given):\n"
        "    print('cleans', flush=True)\n"
        "    clean_rows(*given)\n"
        "preparation.clean_rows = cleaned\n"
        "length = int(sys.stdin.readline())\n"
        "preparation.prepare(dataclasses.replace(recipe, max_length=length))\n"
    )
    source = consultations(600)
    both = {length: run(code, source) for length in (110, 120)}
    for length, process in both.items():
        assert process.stdin is not None
        process.stdin.write(f"{length}\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=120)[0] for process in both.values()]
    assert [process.returncode for process in both.values()] == [0, 0]
    assert sorted(printed) == ["", "cleans\n"]
    assert len(rows_left_in(cache)) == 1
    assert len(left_in(cache)) == 2
    assert all(prepare(recipe(source, max_length=length)).cached for length in both)
