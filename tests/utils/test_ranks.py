"""The rank of this process: variables of launchers, those that were left over, and the settings."""

from __future__ import annotations

import os

import pytest

from lightning_med.utils.errors import InputError
from lightning_med.utils.ranks import check_ranks, forget_ranks, is_first_rank, settle_rank

LAUNCHERS = ("RANK", "RANKS", "WORLD", "NODE", "GROUP", "SLURM", "TORCHELASTIC", "LSB", "JSM", "LOCAL")
STEP = {"SLURM_JOB_NAME": "train", "SLURM_STEP_ID": "0"}  # as srun has it


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(LAUNCHERS)]:
        monkeypatch.delenv(name)


def set_all(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"])
@pytest.mark.parametrize("world", [None, "1"])
def test_a_rank_without_a_world_is_left_over(monkeypatch: pytest.MonkeyPatch, name: str, world: str | None) -> None:
    monkeypatch.setenv(name, "1")
    if world:
        monkeypatch.setenv("WORLD_SIZE", world)
    assert not is_first_rank()
    assert settle_rank(1, 1) == [f"{name}=1"]
    assert name not in os.environ
    assert is_first_rank()


@pytest.mark.parametrize(
    ("values", "devices", "nodes", "first"),
    [
        ({}, 1, 1, True),
        ({}, 2, 2, True),  # Lightning starts the others
        ({"RANK": 1}, 2, 1, True),  # left over: Lightning does not read it where it starts processes itself
        ({"TORCHELASTIC_RUN_ID": "a", "RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1}, 1, 1, True),
        ({"TORCHELASTIC_RUN_ID": "a", "RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 2}, 2, 1, True),
        ({"TORCHELASTIC_RUN_ID": "a", "RANK": 1, "LOCAL_RANK": 1, "WORLD_SIZE": 2}, 2, 1, False),
        ({"TORCHELASTIC_RUN_ID": "a", "RANK": 2, "LOCAL_RANK": 0, "WORLD_SIZE": 4}, 2, 2, False),
        ({"LOCAL_RANK": 1, "NODE_RANK": 0, "WORLD_SIZE": 2}, 2, 1, False),  # a process that Lightning has started
        ({"LOCAL_RANK": 1}, 2, 1, False),  # started by hand
        ({"LOCAL_RANK": 0, "NODE_RANK": 1, "WORLD_SIZE": 4}, 2, 2, False),
        ({"NODE_RANK": 1}, 2, 2, False),  # the first of its node, which starts the others
        ({"RANK": 0, "LOCAL_RANK": 1, "WORLD_SIZE": 2}, 2, 1, False),
        ({**STEP, "SLURM_NTASKS": 1, "SLURM_PROCID": 0}, 1, 1, True),
        ({**STEP, "SLURM_NTASKS": 2, "SLURM_NTASKS_PER_NODE": 2, "SLURM_PROCID": 0}, 2, 1, True),
        ({**STEP, "SLURM_NTASKS": 2, "SLURM_NTASKS_PER_NODE": 2, "SLURM_PROCID": 1}, 2, 1, False),
        ({**STEP, "SLURM_NTASKS": 2, "SLURM_NTASKS_PER_NODE": 2, "SLURM_PROCID": 0, "RANK": 1}, 2, 1, True),
        ({"SLURM_NTASKS": 4, "SLURM_JOB_NAME": "interactive", "SLURM_PROCID": 0}, 1, 1, True),
        ({"SLURM_NTASKS": 4, "SLURM_JOB_NAME": "bash", "SLURM_PROCID": 0}, 2, 1, True),
        ({"SLURM_NTASKS": 1, "SLURM_JOB_NAME": "train", "SLURM_PROCID": 0}, 1, 1, True),  # sbatch --ntasks=1
    ],
)
def test_the_launcher_and_the_settings_decide_which_process_is_the_first(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, object], devices: int, nodes: int, first: bool
) -> None:
    set_all(monkeypatch, **values)
    settle_rank(devices, nodes)
    assert is_first_rank() == first


@pytest.mark.parametrize(
    ("values", "devices", "word"),
    [
        ({"RANK": 1, "WORLD_SIZE": 2}, 1, "2 processes by the environment, 1 by"),
        ({"RANK": 0, "WORLD_SIZE": 2}, 1, "2 processes by the environment, 1 by"),
        ({"TORCHELASTIC_RUN_ID": "a", "RANK": 0, "WORLD_SIZE": 2}, 1, "2 processes by the environment, 1 by"),
        ({"TORCHELASTIC_RUN_ID": "a", "RANK": 0, "WORLD_SIZE": 1}, 2, "1 processes by the environment, 2 by"),
        ({"SLURM_NTASKS": 4, "SLURM_JOB_NAME": "train", "SLURM_PROCID": 0}, 1, "srun did not start this one"),
        ({"SLURM_NTASKS": 4, "SLURM_JOB_NAME": "train", "SLURM_NTASKS_PER_NODE": 4}, 4, "srun did not start this one"),
        ({**STEP, "SLURM_NTASKS": 4, "SLURM_PROCID": 0}, 4, "SLURM_NTASKS_PER_NODE"),
        ({**STEP, "SLURM_NTASKS": 4, "SLURM_NTASKS_PER_NODE": 4}, 1, "4 processes by the environment, 1 by"),
        ({"SLURM_NTASKS": 1, "SLURM_JOB_NAME": "train", "SLURM_PROCID": 0}, 2, "1 processes by the environment, 2 by"),
    ],
)
def test_another_number_of_processes_than_the_settings_ask_for(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, object], devices: int, word: str
) -> None:
    set_all(monkeypatch, **values)
    with pytest.raises(InputError, match=word) as raised:
        settle_rank(devices, 1)
    assert "unset" in raised.value.hint or "--ntasks-per-node" in raised.value.hint


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "WORLD_SIZE", "SLURM_NTASKS", "SLURM_PROCID", "NODE_RANK"])
@pytest.mark.parametrize("value", ["one", "", "-1", "1.0", "²"])
def test_a_variable_that_is_no_number(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=name):
        check_ranks()


def test_a_task_of_slurm_keeps_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning reads it."""
    set_all(monkeypatch, SLURM_NTASKS=1, SLURM_PROCID=3)
    assert forget_ranks() == ["SLURM_PROCID=3"]
    assert os.environ["SLURM_PROCID"] == "0"
