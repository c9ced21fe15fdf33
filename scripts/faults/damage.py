"""Damaged checkpoints: every command refuses them by name, and a resumed run uses the previous checkpoint."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from faults.configs import SETTINGS, write_config
from faults.runs import Child, Progress, Result, complete_fit, get_run_folder, start_fit


def check_damaged_checkpoints(folder: Path, flips: int, rng: random.Random, progress: Progress) -> Iterator[Result]:
    """Damages the last checkpoint of a run in several ways; `flips` random bits are flipped, one at a time."""
    config = write_config(folder, SETTINGS[0])
    cwd = folder / "damage"
    complete_fit(config, cwd, "--checkpoint_every", "4", "--trainer.max_steps", "8")
    last = get_run_folder(cwd) / "checkpoints" / "step-8.ckpt"
    intact = last.read_bytes()
    kinds: dict[str, list[bytes]] = {
        "empty": [b""],
        "cut in half": [intact[: len(intact) // 2]],
        "16 bytes short": [intact[:-16]],
        "replaced by random bytes": [rng.randbytes(len(intact))],
        "with one bit flipped": [_flip_bit(intact, rng.randrange(8 * len(intact))) for _ in range(flips)],
    }
    for kind, contents in kinds.items():
        held = 0
        for number, content in enumerate(contents):
            progress(f"checkpoint {kind}", number, len(contents))
            last.write_bytes(content)
            held += _is_refused(config, cwd, last)
        last.write_bytes(intact)
        yield f"checkpoint {kind}: refused by name, resume uses the previous one", held, len(contents)


def _flip_bit(content: bytes, bit: int) -> bytes:
    index = bit // 8
    return content[:index] + bytes([content[index] ^ (1 << bit % 8)]) + content[index + 1 :]


def _is_refused(config: Path, cwd: Path, last: Path) -> bool:
    """Whether `fit --ckpt_path` refuses it before a run is created, and `--resume auto` reports it and skips it."""
    other = cwd.parent / "refused"
    child = Child(["fit", "--config", str(config), "--ckpt_path", str(last)], other)
    refused = child.wait() == 2 and f"{last.name} is damaged" in child.read_log()
    refused = refused and not (other / "lightning_logs").exists()
    copy = cwd.parent / "resumed"
    shutil.copytree(cwd, copy, symlinks=True)
    resumed = start_fit(config, copy, "--resume", "auto", "--trainer.max_steps", "9")
    log = resumed.read_log() if resumed.wait() == 0 else ""
    shutil.rmtree(other)
    shutil.rmtree(copy)
    return refused and f"{last.name} is damaged" in log and "step-4.ckpt" in log
