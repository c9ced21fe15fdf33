"""Several processes: they share the work and the cache, and leave nothing behind when they are ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation import pipeline
from lightning_med.data.preparation.pipeline import CLEAN_ROWS, prepare
from lightning_med.data.preparation.worker_pool import WorkerPool
from lightning_med.data.sources import table_files
from lightning_med.utils.errors import InputError
from tests.data.preparation.helpers import everything, left_in, recipe, rows_left_in, tables_of

CODE = """
import sys
from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation import pipeline as preparation
from lightning_med.data.report.data_report import print_report
from lightning_med.data.sources import table_files as tables
settings = {"max_length": 128, "eval_max_length": 256, "system_prompt": "Be kind."}
recipe = DialogueDataModule(sys.argv[1], "train", 400, **settings).recipe
"""


def run(code: str, source: Path) -> subprocess.Popen[str]:
    """A process of its own that knows `recipe`; see `CODE`."""
    command = [sys.executable, "-c", CODE + code, str(source)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_two_processes_make_one_copy(cache: Path, consultations: Callable[..., Path]) -> None:
    code = "sys.stdin.readline()\nprint_report(preparation.prepare(recipe))"  # both are ready before either begins
    source = consultations(600)
    both = [run(code, source) for _ in range(2)]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = sorted(process.communicate(timeout=120)[0].splitlines()[-1] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    (folder,) = left_in(cache)
    assert len(rows_left_in(cache)) == 1
    assert told == [f"found in the cache: {cache / folder}", f"prepared: {cache / folder}"]


def test_killed_preparation_is_made_whole_by_the_next(
    cache: Path, consultations: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process outlives it, what it left is not believed, and the next one ends where it would have ended."""
    if not hasattr(os, "pidfd_open"):
        pytest.skip("this system cannot wait for processes that are no children")
    code = (
        "import multiprocessing, signal\n"
        "from lightning_med.data.preparation import token_pass\n"
        "tables.CHUNK, preparation._SMALL, preparation.count_cores = 20, 0, lambda: 2\n"
        "add, calls = token_pass.TokenWriter.add, []\n"
        "def stop(self, *given):\n"
        "    add(self, *given)\n"
        "    calls.append(None)\n"
        "    if len(calls) == 7:\n"
        "        print(*[child.pid for child in multiprocessing.active_children()], flush=True)\n"
        "        signal.pause()\n"
        "token_pass.TokenWriter.add = stop\n"
        "preparation.prepare(recipe)\n"
    )
    source = consultations(200)
    with run(code, source) as process:
        assert process.stdout is not None
        workers = [os.pidfd_open(int(pid)) for pid in process.stdout.readline().split()]
        process.kill()
    assert len(workers) == 2
    while workers:
        (ended, *_), _, _ = select.select(workers, [], [], 60)
        workers.remove(ended)
        os.close(ended)
    assert [name.startswith(".") for name in left_in(cache)] == [True]
    assert [name.startswith(".") for name in rows_left_in(cache)] == [False]
    monkeypatch.setattr(table_files, "CHUNK", 20)
    whole = prepare(recipe(source))
    assert not whole.cached
    assert left_in(cache) == [whole.fingerprint]
    assert tables_of(whole.folder) == tables_of(prepare(recipe(source), str(tmp_path / "undisturbed")).folder)


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
    """What a process counts, and what it replaces, comes back in the order of the rows too."""
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


PATIENCE = 60.0  # seconds for what takes one or two


@pytest.fixture
def begin() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process as the leader of a session; at the end none of them is left, whatever went wrong."""
    started: list[subprocess.Popen[str]] = []

    def start(*command: object, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen([*map(str, command)], text=True, start_new_session=True, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        for left in of_session(process.pid):
            left.kill()
        process.communicate()


def until(condition: Callable[[], Any], process: subprocess.Popen[Any]) -> Any:
    """Waits for a condition while a process runs; returns what it gave."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        assert process.poll() is None, "it ended too soon"
        time.sleep(0.005)
    raise AssertionError("it did not come to that")


def of_session(leader: int) -> list[psutil.Process]:
    """All processes of a session that still run, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def assert_all_end(leader: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while left := of_session(leader):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


STAGES = {
    "begun": "",  # wherever it is when its folder appears
    "read": "stop(clean_pass, 'group_rows')",
    "rows written": "stop(folder, 'sync_files')",  # all files are there, under their temporary name
    "rows renamed": "stop(preparation, 'CleanRowStore')",
    "encoded": "stop(token_pass, 'TokenStatistics')",
    "tokens written": "stop(folder, 'sync_files', 2)",
    "renamed": "stop(preparation, 'restore_tokenizer')",
}
ROWS_STAND = ("rows renamed", "encoded", "tokens written", "renamed")


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_any_stage_leaves_nothing_that_is_believed(
    cache: Path, consultations: Callable[..., Path], tmp_path: Path, begin: Callable[..., Any], stage: str
) -> None:
    """All its processes at once, as where memory runs out or a machine is switched off."""
    code = (
        "import signal\n"
        "from lightning_med.data.preparation import clean_pass, token_pass\n"
        "from lightning_med.data.preparation.cache import folder\n"
        "preparation._SMALL, preparation.count_cores = 0, lambda: 2\n"
        "def stop(module, name, call=1, calls=[]):\n"
        "    original = getattr(module, name)\n"
        "    def stopped(*given):\n"
        "        calls.append(None)\n"
        "        if len(calls) < call:\n"
        "            return original(*given)\n"
        "        print('there', flush=True)\n"
        "        signal.pause()\n"
        "    setattr(module, name, stopped)\n"
        f"{STAGES[stage]}\n"
        "preparation.prepare(recipe)\n"
    )
    source = consultations(600)
    process = begin(sys.executable, "-c", CODE + code, source, stdout=subprocess.PIPE)
    if STAGES[stage]:
        assert process.stdout.readline() == "there\n"
    (rows,) = until(lambda: rows_left_in(cache), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    assert_all_end(process.pid)
    assert rows.startswith(".") == (stage not in ROWS_STAND)
    assert rows_left_in(cache) == [rows]
    assert [name.startswith(".") for name in left_in(cache)] == [stage != "renamed"] * (stage in ROWS_STAND)
    again = prepare(recipe(source))
    assert again.cached == (stage == "renamed")
    assert left_in(cache) == [again.fingerprint]
    assert len(rows_left_in(cache)) == 1
    assert not rows_left_in(cache)[0].startswith(".")
    assert tables_of(again.folder) == tables_of(prepare(recipe(source), str(tmp_path / "undisturbed")).folder)
    assert prepare(recipe(source)).cached


COMMAND = """
import sys
from lightning_med.cli import main
from lightning_med.data.preparation import pipeline as preparation
from lightning_med.data.sources import table_files as tables
preparation._SMALL, preparation.count_cores, tables.CHUNK = 0, lambda: 2, 200
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("name", "whole_group", "at_work"),
    [
        ("SIGTERM", False, False),
        ("SIGTERM", False, True),
        ("SIGTERM", True, True),  # as a batch system sends it
        ("SIGINT", True, True),  # as a terminal sends it
    ],
)
def test_signal_ends_the_command_and_takes_all_with_it(
    cache: Path,
    consultations: Callable[..., Path],
    tmp_path: Path,
    begin: Callable[..., Any],
    name: str,
    whole_group: bool,
    at_work: bool,
) -> None:
    argv = (
        "prepare",
        "--data.source",
        consultations(20_000),
        "--data.tokenizer",
        "train",
        "--output",
        tmp_path / "out",
    )
    with (tmp_path / "said").open("w") as said:
        process = begin(sys.executable, "-c", COMMAND, *argv, stdout=said, stderr=said, cwd=tmp_path)
    until(lambda: list(cache.glob(f"{CLEAN_ROWS}/.*-*")), process)
    if at_work:  # both its processes live, and have brought something
        until(lambda: len(of_session(process.pid)) > 2, process)
        until(lambda: any(path.stat().st_size > 20_000 for path in cache.glob(f"{CLEAN_ROWS}/.*/texts.arrow")), process)
    (os.killpg if whole_group else os.kill)(process.pid, signal.Signals[name])
    status, text = process.wait(PATIENCE), (tmp_path / "said").read_text()
    assert status == 128 + signal.Signals[name], text
    if name == "SIGTERM":  # what SIGINT makes of the pool's processes has a test of its own
        assert "Traceback" not in text
    assert left_in(cache) == rows_left_in(cache) == []
    assert_all_end(process.pid)
    assert not (tmp_path / "out").exists()


def test_interrupt_from_the_terminal_is_for_the_command_to_answer() -> None:
    """A terminal sends SIGINT to all processes at once; those of the pool end with the command, and say nothing."""
    with WorkerPool(2) as pool:
        assert list(pool.map_ordered(abs, range(-4, 0))) == [4, 3, 2, 1]
        workers = [psutil.Process(pid) for pid in pool._executor._processes]
        assert len(workers) == 2
        for worker in workers:
            worker.send_signal(signal.SIGINT)
        psutil.wait_procs(workers, timeout=1)
        assert list(pool.map_ordered(abs, range(-4, 0))) == [4, 3, 2, 1]


def test_mistake_is_told_from_another_process_too(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_SMALL", 0)
    monkeypatch.setattr(pipeline, "count_cores", lambda: 2)
    with pytest.raises(InputError, match="leaves no room"):
        prepare(recipe(consultations(), system_prompt="Be very kind. " * 60))
    assert left_in(cache) == []


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


def test_what_killed_preparations_left_is_swept(cache: Path, consultations: Callable[..., Path]) -> None:
    levels = (cache, cache / CLEAN_ROWS)
    for folder in levels:
        for name in (".killed-x1", ".running-x2", ".mine", "unknown"):
            (folder / name).mkdir(parents=True)
            (folder / name / "train.arrow").write_bytes(b"half")
        (folder / "killed.lock").touch()
    with FileLock(levels[0] / "running.lock"), FileLock(levels[1] / "running.lock"):
        prepared = prepare(recipe(consultations()))
    assert left_in(cache) == [".mine", ".running-x2", prepared.fingerprint, "unknown"]
    (rows,) = set(rows_left_in(cache)) - {".mine", ".running-x2", "unknown"}
    assert rows_left_in(cache) == [".mine", ".running-x2", rows, "unknown"]
