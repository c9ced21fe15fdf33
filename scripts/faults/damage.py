"""Files that rot: each is refused by name before anything is done with it, and the one before it is taken."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from faults.kills import SETTINGS, Row
from faults.runs import Child, config, fit, run_of


def damaged(home: Path, flips: int, source: random.Random, tell: Callable[[str, int, int], None]) -> Iterator[Row]:
    path = config(home, SETTINGS[0])
    place = home / "damage"
    if fit(path, place, "--checkpoint_every", "4", "--trainer.max_steps", "8").wait():
        raise RuntimeError("a run that nobody touched failed")
    last = run_of(place) / "checkpoints" / "step-8.ckpt"
    whole = last.read_bytes()
    kinds: dict[str, list[bytes]] = {
        "empty": [b""],
        "half": [whole[: len(whole) // 2]],
        "16 bytes short": [whole[:-16]],
        "garbage": [source.randbytes(len(whole))],
        "one bit flipped": [_flipped(whole, source.randrange(8 * len(whole))) for _ in range(flips)],
    }
    for kind, contents in kinds.items():
        held = 0
        for number, content in enumerate(contents):
            tell(f"damage, {kind}", number, len(contents))
            last.write_bytes(content)
            held += _refused(path, place, last)
        last.write_bytes(whole)
        yield f"checkpoint {kind}: refused by name, resume takes the one before", held, len(contents)


def _flipped(content: bytes, bit: int) -> bytes:
    at = bit // 8
    return content[:at] + bytes([content[at] ^ (1 << bit % 8)]) + content[at + 1 :]


def _refused(path: Path, place: Path, last: Path) -> bool:
    """By `fit --ckpt_path` before it trains; `fit --resume auto` names it and goes on from the one before."""
    apart = place.parent / "refused"
    child = Child(["fit", "--config", str(path), "--ckpt_path", str(last)], apart)
    refused = child.wait() == 2 and f"{last.name} is damaged" in child.said()
    refused = refused and not (apart / "lightning_logs").exists()
    copy = place.parent / "fallen-back"
    shutil.copytree(place, copy, symlinks=True)
    again = fit(path, copy, "--resume", "auto", "--trainer.max_steps", "9")
    said = again.said() if again.wait() == 0 else ""
    shutil.rmtree(apart)
    shutil.rmtree(copy)
    return refused and f"{last.name} is damaged" in said and "step-4.ckpt" in said
