"""Several processes that train together: they learn what one process learns, and none outlives the others."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from local_servers import find_free_port

from faults.configs import SETTINGS, write_config
from faults.fingerprints import compute_fingerprint, read_weights
from faults.runs import Progress, Result, get_run_folder
from faults.torchrun import make_fit_arguments, make_rank_options, read_log, start_ranks

CHILD = Path(__file__).with_name("rank_child.py")
STEPS = 20
# Largest relative difference of the final weights between 1 and 2 ranks, by optimizer and strategy.
BOUNDS = {("adamw", "ddp"): 1e-4, ("sgd", "ddp"): 1e-6, ("sgd", "sharded"): 1e-6}
Tensors = dict[str, torch.Tensor]


def check_ranks(folder: Path, quick: bool, progress: Progress) -> Iterator[Result]:
    """Compares runs on two ranks with runs on one, and kills one of two ranks.

    Args:
        folder: Folder of the runs.
        quick: Kill rank 0 only.
        progress: Shows the progress.
    """
    config = write_config(folder, SETTINGS[0])
    yield from _compare_ranks(folder, config, progress)
    progress("ranks, test", 0, 1)
    cwd = folder / "ranks"
    start_ranks(2, cwd / "uninterrupted", make_fit_arguments(config, 2)).wait(180)
    uninterrupted = get_run_folder(cwd / "uninterrupted")
    last = uninterrupted / "checkpoints" / "last.ckpt"
    yield "test on 1 and 2 ranks: perplexity within 1e-6, tokens equal", int(_is_same_test(cwd, config, last)), 1
    for rank in (0,) if quick else (0, 1):
        progress("ranks, one killed", rank, 2)
        killed = cwd / f"killed-{rank}"
        seconds = _kill_rank(killed, config, rank)
        status = start_ranks(2, killed, [*make_fit_arguments(config, 2), "--resume", "auto"]).wait(180)
        equal = status == 0 and compute_fingerprint(get_run_folder(killed)) == compute_fingerprint(uninterrupted)
        what = f"rank {rank} of 2 killed: the other ended after {seconds:.0f} s, same final state after resuming both"
        yield what, int(seconds < 60 and equal), 1
    progress("ranks, resumed on one", 0, 1)
    fewer = cwd / "fewer"
    _kill_rank(fewer, config, 1)
    status = start_ranks(1, fewer, [*make_fit_arguments(config, 1), "--resume", "auto"]).wait(180)
    resumed = get_run_folder(fewer)
    equal = compute_fingerprint(resumed)[1] == compute_fingerprint(uninterrupted)[1]
    difference = _measure_difference(read_weights(resumed), read_weights(uninterrupted))
    what = f"started on 2 ranks, resumed on 1: same number of steps, weights within {difference:.0e}"
    yield what, int(not status and equal), 1
    progress("two nodes", 0, 1)
    held = _is_same_on_two_nodes(cwd, config, uninterrupted)
    yield "two nodes joined by torchrun's rendezvous: same final state as two ranks", int(held), 1


def _compare_ranks(folder: Path, config: Path, progress: Progress) -> Iterator[Result]:
    """Trains the same global batches on one and on two ranks."""
    single: dict[str, dict[str, Any]] = {}
    for number, ((optimizer, strategy), bound) in enumerate(BOUNDS.items()):
        progress(f"1 and 2 ranks, {optimizer}, {strategy}", number, len(BOUNDS))
        if optimizer not in single:
            single[optimizer] = _train_ranks(folder, config, optimizer, strategy, 1)
        one, two = single[optimizer], _train_ranks(folder, config, optimizer, strategy, 2)
        gradient = _measure_difference(one["gradient"], two["gradient"])
        weights = _measure_difference(one["weights"], two["weights"])
        loss = max(abs(a - b) / abs(a) for a, b in zip(one["losses"], two["losses"], strict=True))
        held = gradient <= 1e-6 and loss <= 1e-5 and weights <= bound and len(one["losses"]) == STEPS
        differences = f"gradient {gradient:.1e}, losses {loss:.1e}, weights {weights:.1e}"
        what = f"1 and 2 ranks ({strategy}), {STEPS} steps of {optimizer}: relative difference of {differences}"
        yield what, int(held), 1


def _train_ranks(folder: Path, config: Path, optimizer: str, strategy: str, ranks: int) -> dict[str, Any]:
    """Runs `rank_child.py` and returns what it saved.

    Raises:
        RuntimeError: A rank failed.
    """
    cwd, output = folder / "agreement", folder / f"{optimizer}-{strategy}-{ranks}.pt"
    child = [str(CHILD), str(config), optimizer, strategy, str(STEPS), str(output)]
    if start_ranks(ranks, cwd, child, module=False).wait(180):
        raise RuntimeError(f"{ranks} ranks failed: {read_log(cwd)}")
    return torch.load(output, weights_only=True)  # type: ignore[no-any-return]


def _measure_difference(ours: Tensors, theirs: Tensors) -> float:
    """Returns the L2 distance over all tensors, relative to the norm of the second ones."""
    distance = sum(float((ours[name].double() - theirs[name].double()).square().sum()) for name in theirs)
    return float(distance / sum(float(tensor.double().square().sum()) for tensor in theirs.values())) ** 0.5


def _is_same_test(cwd: Path, config: Path, checkpoint: Path) -> bool:
    """Whether `test` reports the same on one and on two ranks."""
    results = []
    for ranks in (1, 2):
        output = cwd / f"test-{ranks}.json"
        argv = ["test", "--config", str(config), "--ckpt_path", str(checkpoint), "--output", str(output)]
        if start_ranks(ranks, cwd, [*argv, *make_rank_options(ranks)]).wait(120):
            raise RuntimeError(read_log(cwd))
        results.append(json.loads(output.read_text()))
    one, two = results
    close = abs(one["test/perplexity"] - two["test/perplexity"]) <= 1e-6 * one["test/perplexity"]
    return close and one["test/tokens"] == two["test/tokens"]


def _kill_rank(cwd: Path, config: Path, rank: int) -> float:
    """Kills one of two ranks once a checkpoint is saved; returns the seconds until all processes have ended."""
    import psutil

    process = start_ranks(2, cwd, make_fit_arguments(config, 2))
    try:
        deadline = time.monotonic() + 120
        last = get_run_folder(cwd) / "checkpoints" / "last.ckpt"
        while not last.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        for child in psutil.Process(process.pid).children(recursive=True):
            if child.environ().get("RANK") == str(rank):
                child.send_signal(signal.SIGKILL)
                break
        killed = time.monotonic()
        process.wait(90)
        return time.monotonic() - killed
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _is_same_on_two_nodes(cwd: Path, config: Path, uninterrupted: Path) -> bool:
    """Starts two launchers that meet at an address, as on two machines with a shared folder."""
    address = f"127.0.0.1:{find_free_port()}"
    nodes = ["--nnodes=2", "--nproc_per_node=1", "--rdzv_backend=c10d", f"--rdzv_endpoint={address}", "--rdzv_id=1"]
    argv = [*make_fit_arguments(config, 2), "--trainer.devices", "1", "--trainer.num_nodes", "2"]
    launchers = [start_ranks(1, cwd / "nodes", argv, nodes=nodes) for _ in range(2)]
    codes = [launcher.wait(240) for launcher in launchers]
    run = get_run_folder(cwd / "nodes")
    return codes == [0, 0] and compute_fingerprint(run) == compute_fingerprint(uninterrupted)
