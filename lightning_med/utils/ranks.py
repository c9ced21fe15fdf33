"""Which of the processes that train together this one is, by the launchers' variables and the settings."""

from __future__ import annotations

import os

from lightning_med.utils.errors import InputError

_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")  # in the order in which Lightning asks
_COUNTS = (
    *("WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_NNODES"),
    *("SLURM_LOCALID", "SLURM_NODEID"),
)


def is_first_rank() -> bool:
    """Returns whether this process is the first of those that train together, as the launcher's variables say."""
    return next((rank for rank in map(os.environ.get, _RANKS) if rank), "0") == "0"


def check_ranks() -> None:
    """Checks that the launchers' variables are whole numbers; Lightning reads them when it is imported.

    Raises:
        InputError: One is not.
    """
    for name in (*_RANKS, *_COUNTS):
        value = os.environ.get(name, "0")
        if not (value.isascii() and value.isdecimal()):
            raise InputError(f"{name}={value!r} in the environment is not a whole number.", f"Remove it: unset {name}")


def settle_rank(devices: int, nodes: int) -> list[str]:
    """Makes the launchers' variables agree with the processes that the settings ask for, before any of them works.

    Args:
        devices: Of each node, each with one process.
        nodes: Number of nodes.

    Returns:
        Variables that were left over from elsewhere and have been removed: they said that this process is not the
        first, and it would have written nothing.

    Raises:
        InputError: A launcher has started another number of processes than the settings ask for.
    """
    world = devices * nodes
    if "LSB_JOBID" in os.environ and "JSM_NAMESPACE_RANK" in os.environ:  # LSF; Lightning's own variables for the rest
        return []
    if "TORCHELASTIC_RUN_ID" in os.environ:
        launched, rank = _get("WORLD_SIZE", 1), _get("RANK")
    elif is_slurm_task():
        _check_srun()
        launched, rank = _get("SLURM_NTASKS", 1), _get("SLURM_PROCID")
    else:
        launched = _get("WORLD_SIZE", 1) if {"RANK", "LOCAL_RANK"} & os.environ.keys() else 1
        launched = launched if launched > 1 else world  # Lightning starts the others itself, if there are any
        rank = _get("NODE_RANK", _get("GROUP_RANK")) * devices + _get("LOCAL_RANK")
    if launched != world:
        raise InputError(
            f"{launched} processes by the environment, {world} by --trainer.devices {devices} and --trainer.num_nodes"
            f" {nodes}.",
            "Give the devices and nodes that were asked for there; or unset RANK LOCAL_RANK WORLD_SIZE SLURM_NTASKS",
        )
    if world == 1 or not rank:
        return forget_ranks()
    if is_first_rank():  # the first of another node than the first
        os.environ["RANK"] = str(rank)
    return []


def forget_ranks() -> list[str]:
    """Removes the variables that say that this process is not the first, and returns what they said."""
    stale = [name for name in _RANKS if os.environ.get(name, "0") != "0"]
    said = [f"{name}={os.environ.pop(name)}" for name in stale]
    if "SLURM_PROCID" in stale and is_slurm_task():
        os.environ["SLURM_PROCID"] = "0"  # there has to be one
    return said


def is_slurm_task() -> bool:
    """Returns whether Lightning takes this process for a task of SLURM; it does not in jobs of two names."""
    return "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")


def _check_srun() -> None:
    tasks = _get("SLURM_NTASKS", 1)
    if tasks > 1 and not {"SLURM_STEP_ID", "SLURM_STEPID"} & os.environ.keys():
        raise InputError(
            f"SLURM has {tasks} tasks for this job (SLURM_NTASKS), and srun did not start this one: it would be alone.",
            "Begin the command with srun; or train in one process: unset SLURM_NTASKS, or ask for --ntasks=1",
        )
    if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise InputError(
            f"SLURM has {tasks} tasks for this job, and no number for each node (SLURM_NTASKS_PER_NODE).",
            "Ask for --nodes=N --ntasks-per-node=T in place of --ntasks, as --trainer.num_nodes N --trainer.devices T",
        )


def _get(name: str, default: int = 0) -> int:
    return int(os.environ.get(name) or default)
