"""Several processes: they learn what one learns, and none is left alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from faults.kills import SETTINGS, Row
from faults.runs import config, fingerprint, run_of

CHILD = Path(__file__).with_name("rank_child.py")
STEPS = 20
Tensors = dict[str, torch.Tensor]


def together(home: Path, quick: bool, tell: Callable[[str, int, int], None]) -> Iterator[Row]:
    path = config(home, SETTINGS[0])
    yield from _agreement(home, path, tell)
    tell("ranks, a test", 0, 1)
    place = home / "ranks"
    whole = place / "whole"
    _run(2, whole, _fit(path, 2)).wait(180)
    last = run_of(whole) / "checkpoints" / "last.ckpt"
    yield "test on 1 and 2 ranks: perplexity within 1e-6, tokens equal", int(_same_test(place, path, last)), 1
    for rank in (0,) if quick else (0, 1):
        tell("ranks, one killed", rank, 2)
        killed = place / f"killed-{rank}"
        ended = _kill_one(killed, path, rank)
        again = _run(2, killed, [*_fit(path, 2), "--resume", "auto"]).wait(180)
        equal = again == 0 and fingerprint(run_of(killed)) == fingerprint(run_of(whole))
        what = f"rank {rank} of 2 killed: the other ended after {ended:.0f} s, both resumed to the same end"
        yield what, int(ended < 60 and equal), 1
    tell("ranks, resumed on one", 0, 1)
    fewer = place / "fewer"
    _kill_one(fewer, path, 1)
    ended = _run(1, fewer, [*_fit(path, 1), "--resume", "auto"]).wait(180)
    steps = fingerprint(run_of(fewer))[1] == fingerprint(run_of(whole))[1]
    near = _apart(_weights(run_of(fewer)), _weights(run_of(whole)))
    yield f"begun on 2 ranks, ended on 1: the same steps, weights within {near:.0e}", int(not ended and steps), 1
    tell("two nodes", 0, 1)
    yield "two nodes through torchrun's rendezvous: the end of two ranks", int(_two_nodes(place, path, whole)), 1


def _agreement(home: Path, path: Path, tell: Callable[[str, int, int], None]) -> Iterator[Row]:
    """One process against two at the same global step, by AdamW and by plain descent; weights whole or shared out."""
    bounds = {("adamw", "ddp"): 1e-4, ("sgd", "ddp"): 1e-6, ("sgd", "sharded"): 1e-6}
    alone: dict[str, dict[str, Any]] = {}
    for number, ((optimizer, strategy), bound) in enumerate(bounds.items()):
        tell(f"1 against 2 ranks, {optimizer}, {strategy}", number, len(bounds))
        one = alone.get(optimizer) or alone.setdefault(optimizer, _learned(home, path, optimizer, strategy, 1))
        two = _learned(home, path, optimizer, strategy, 2)
        gradient, weights = _apart(one["gradient"], two["gradient"]), _apart(one["weights"], two["weights"])
        loss = max(abs(a - b) / abs(a) for a, b in zip(one["losses"], two["losses"], strict=True))
        held = gradient <= 1e-6 and loss <= 1e-5 and weights <= bound and len(one["losses"]) == STEPS
        figures = f"gradient {gradient:.1e}, losses {loss:.1e}, weights {weights:.1e}"
        yield f"1 against 2 ranks ({strategy}), {STEPS} steps of {optimizer}: {figures}", int(held), 1


def _learned(home: Path, path: Path, optimizer: str, strategy: str, ranks: int) -> dict[str, Any]:
    output = home / f"{optimizer}-{strategy}-{ranks}.pt"
    child = [str(CHILD), str(path), optimizer, strategy, str(STEPS), str(output)]
    if _run(ranks, home / "agreement", child, module=False).wait(180):
        raise RuntimeError(f"{ranks} ranks failed: {(home / 'agreement' / 'log').read_text()[-800:]}")
    return torch.load(output, weights_only=True)  # type: ignore[no-any-return]


def _apart(ours: Tensors, theirs: Tensors) -> float:
    """L2 over all tensors, relative."""
    apart = sum(float((ours[name].double() - theirs[name].double()).square().sum()) for name in theirs)
    return float(apart / sum(float(one.double().square().sum()) for one in theirs.values())) ** 0.5


def _weights(run: Path) -> Tensors:
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return content["state_dict"]  # type: ignore[no-any-return]


def _fit(path: Path, ranks: int) -> list[str]:
    given = ["fit", "--config", str(path), "--name", "torture", "--data.tokens_per_step", "600"]
    return [*given, "--trainer.devices", str(ranks), "--trainer.strategy", "ddp" if ranks > 1 else "auto"]


def _run(
    ranks: int, place: Path, argv: list[str], module: bool = True, nodes: list[str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts so many ranks through torchrun, in a process group of their own; what they say goes to `log`."""
    place.mkdir(parents=True, exist_ok=True)
    torchrun = ["-m", "torch.distributed.run", *(nodes or [f"--nproc_per_node={ranks}", f"--master_port={_port()}"])]
    command = [sys.executable, *torchrun, *(["-m", "lightning_med"] if module else []), *argv]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (place / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=place, stdout=log, stderr=log, env=environment, start_new_session=True)


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _same_test(place: Path, path: Path, last: Path) -> bool:
    found = []
    for ranks in (1, 2):
        output = place / f"test-{ranks}.json"
        given = ["test", "--config", str(path), "--ckpt_path", str(last), "--output", str(output)]
        given += ["--trainer.devices", str(ranks), "--trainer.strategy", "ddp" if ranks > 1 else "auto"]
        if _run(ranks, place, given).wait(120):
            raise RuntimeError((place / "log").read_text()[-800:])
        found.append(json.loads(output.read_text()))
    one, two = found
    near = abs(one["test/perplexity"] - two["test/perplexity"]) <= 1e-6 * one["test/perplexity"]
    return near and one["test/tokens"] == two["test/tokens"]


def _kill_one(place: Path, path: Path, rank: int) -> float:
    """Kills a rank once some steps are saved; returns the seconds until all have ended."""
    import psutil

    started = _run(2, place, _fit(path, 2))
    try:
        end = time.monotonic() + 120
        while not (run_of(place) / "checkpoints" / "last.ckpt").exists() and time.monotonic() < end:
            time.sleep(0.02)
        for child in psutil.Process(started.pid).children(recursive=True):
            if child.environ().get("RANK") == str(rank):
                child.send_signal(signal.SIGKILL)
                break
        killed = time.monotonic()
        started.wait(90)
        return time.monotonic() - killed
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def _two_nodes(place: Path, path: Path, whole: Path) -> bool:
    """Two launchers that find each other at an address, as two machines would; the folder is shared."""
    meeting = f"127.0.0.1:{_port()}"
    nodes = ["--nnodes=2", "--nproc_per_node=1", "--rdzv_backend=c10d", f"--rdzv_endpoint={meeting}", "--rdzv_id=1"]
    argv = [*_fit(path, 2), "--trainer.devices", "1", "--trainer.num_nodes", "2"]
    started = [_run(1, place / "nodes", argv, nodes=nodes) for _ in range(2)]
    ended = [node.wait(240) for node in started]
    return ended == [0, 0] and fingerprint(run_of(place / "nodes")) == fingerprint(run_of(whole))
