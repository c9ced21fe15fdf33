"""Folders of runs: numbered, never shared, removed if the run did not start."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.checkpoints import checkpoint_files
from lightning_med.checkpoints.run_folder import (
    SETTINGS,
    create_version,
    get_runs_folder,
    list_versions,
    remove_unstarted,
)
from lightning_med.utils.errors import InputError


def test_a_name_is_a_folder_under_the_root(tmp_path: Path) -> None:
    assert get_runs_folder(tmp_path, "quickstart") == tmp_path / "lightning_logs" / "quickstart"
    assert get_runs_folder(None, "a.b-c_1") == Path("lightning_logs/a.b-c_1")


@given(st.text())
def test_no_name_leaves_the_folder(name: str) -> None:
    try:
        home = get_runs_folder("root", name)
    except InputError:
        return
    assert home.parent == Path("root/lightning_logs")
    assert home.name == name
    assert name not in (".", "..")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "/a", "-a", "a\n"])
def test_an_invalid_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="--name"):
        get_runs_folder(None, name)


def test_versions_count_up_and_sort_by_number(tmp_path: Path) -> None:
    for number in (0, 2, 10, 9):
        (tmp_path / f"version_{number}").mkdir()
    (tmp_path / "version_x").mkdir()
    (tmp_path / "version_3-old").mkdir()
    assert [path.name for path in list_versions(tmp_path)] == ["version_0", "version_2", "version_9", "version_10"]
    assert create_version(tmp_path).name == "version_11"
    assert list_versions(tmp_path / "missing") == []


def test_runs_that_start_together_get_different_folders(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(create_version, [tmp_path / "name"] * 24))
    assert len(set(runs)) == 24
    assert all(path.is_dir() for path in runs)


def test_a_run_that_did_not_start_is_removed(tmp_path: Path) -> None:
    run = create_version(get_runs_folder(tmp_path, "name"))
    (run / "metrics.csv").write_text("opened by a logger")
    remove_unstarted(run)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_started_stays(tmp_path: Path) -> None:
    run = create_version(get_runs_folder(tmp_path, "name"))
    (run / SETTINGS).write_text("{}")
    remove_unstarted(run)
    assert (run / SETTINGS).exists()


def test_checkpoints_without_settings_stay(tmp_path: Path) -> None:
    run = create_version(get_runs_folder(tmp_path, "name"))
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "step-1.ckpt").write_text("weights")
    remove_unstarted(run)
    assert (run / "checkpoints" / "step-1.ckpt").exists()


def test_removing_one_run_keeps_the_others(tmp_path: Path) -> None:
    first, second = (create_version(get_runs_folder(tmp_path, "name")) for _ in range(2))
    (first / SETTINGS).write_text("{}")
    remove_unstarted(second)
    assert first.is_dir()
    assert not second.exists()


def test_the_last_checkpoint_is_that_of_the_newest_run_with_one(tmp_path: Path) -> None:
    home = get_runs_folder(tmp_path, "name")
    for number in range(12):
        run = create_version(home)
        if number != 11:
            (run / "checkpoints").mkdir()
            (run / "checkpoints" / "last.ckpt").touch()
    assert checkpoint_files.find_last_checkpoint(home) == home / "version_10" / "checkpoints" / "last.ckpt"


def test_a_missing_last_checkpoint_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--ckpt_path last"):
        checkpoint_files.find_last_checkpoint(tmp_path / "missing")
