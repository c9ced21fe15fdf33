"""A preparation that is ended at any moment leaves no process and nothing that is taken for complete."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from lightning_med.data.preparation.pipeline import CLEAN_ROWS, prepare
from lightning_med.data.sources import table_files
from tests.data.preparation.helpers import left_in, recipe, rows_left_in, tables_of
from tests.data.preparation.processes import CODE, PATIENCE, assert_all_end, of_session, run, until


@pytest.mark.slow
def test_killed_preparation_is_completed_by_the_next(
    cache: Path, consultations: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process outlives it, what it left is not used, and the next one makes what it would have made."""
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
    prepared = prepare(recipe(source))
    assert not prepared.cached
    assert left_in(cache) == [prepared.fingerprint]
    assert tables_of(prepared.folder) == tables_of(prepare(recipe(source), str(tmp_path / "undisturbed")).folder)


STAGES = {
    "begun": "",  # killed as soon as its folder appears
    "read": "stop(clean_pass, 'group_rows')",
    "rows written": "stop(folder, 'sync_files')",  # all files are there, under their temporary name
    "rows renamed": "stop(preparation, 'CleanRowStore')",
    "encoded": "stop(token_pass, 'TokenStatistics')",
    "tokens written": "stop(folder, 'sync_files', 2)",
    "renamed": "stop(preparation, 'restore_tokenizer')",
}
ROWS_STAND = ("rows renamed", "encoded", "tokens written", "renamed")


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_any_stage_leaves_nothing_that_is_used(
    cache: Path, consultations: Callable[..., Path], tmp_path: Path, begin: Callable[..., Any], stage: str
) -> None:
    """All its processes are killed at once, as when memory runs out or a machine is switched off."""
    code = (
        "import signal\n"
        "from lightning_med.data.preparation import clean_pass, token_pass\n"
        "from lightning_med.data.preparation.cache import cache_folder as folder\n"
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


@pytest.mark.slow
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
    with (tmp_path / "output").open("w") as output:
        process = begin(sys.executable, "-c", COMMAND, *argv, stdout=output, stderr=output, cwd=tmp_path)
    until(lambda: list(cache.glob(f"{CLEAN_ROWS}/.*-*")), process)
    if at_work:  # both worker processes run and have returned something
        until(lambda: len(of_session(process.pid)) > 2, process)
        until(lambda: any(path.stat().st_size > 20_000 for path in cache.glob(f"{CLEAN_ROWS}/.*/texts.arrow")), process)
    (os.killpg if whole_group else os.kill)(process.pid, signal.Signals[name])
    status, text = process.wait(PATIENCE), (tmp_path / "output").read_text()
    assert status == 128 + signal.Signals[name], text
    if name == "SIGTERM":  # for SIGINT and the pool's processes see test_processes.py
        assert "Traceback" not in text
    assert left_in(cache) == rows_left_in(cache) == []
    assert_all_end(process.pid)
    assert not (tmp_path / "out").exists()


def test_what_killed_preparations_left_is_removed(cache: Path, consultations: Callable[..., Path]) -> None:
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
