"""Processes started by torchrun, and the options of their commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from local_servers import find_free_port


def start_ranks(
    ranks: int, cwd: Path, argv: list[str], module: bool = True, nodes: list[str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts torchrun in a session of its own; all output is appended to the file `log`.

    Args:
        ranks: Number of processes.
        cwd: Working folder; created if missing.
        argv: Arguments of the command, or of `rank_child.py`.
        module: Whether `argv` are arguments of the command.
        nodes: Options of torchrun for several nodes.
    """
    cwd.mkdir(parents=True, exist_ok=True)
    options = nodes or [f"--nproc_per_node={ranks}", f"--master_port={find_free_port()}"]
    program = ["-m", "lightning_med"] if module else []
    command = [sys.executable, "-m", "torch.distributed.run", *options, *program, *argv]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (cwd / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=cwd, stdout=log, stderr=log, env=environment, start_new_session=True)


def make_fit_arguments(config: Path, ranks: int) -> list[str]:
    options = ["fit", "--config", str(config), "--name", "torture", "--data.tokens_per_step", "600"]
    return [*options, *make_rank_options(ranks)]


def make_rank_options(ranks: int) -> list[str]:
    return ["--trainer.devices", str(ranks), "--trainer.strategy", "ddp" if ranks > 1 else "auto"]


def read_log(cwd: Path) -> str:
    return (cwd / "log").read_text()[-800:]
