"""Folders as runs leave them, without a fit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from lightning_med.checkpoints.run_record import RunRecord

RECORD = RunRecord(
    data="data-1", validation="rows-1", test="test-1", tokenizer="tokens-1", prompt="p", steps=20, began="2026-01-01"
)
HEADER = "epoch,step,train/loss,val/bits_per_byte,val/perplexity"


def make_run(
    root: Path, name: str = "tiny", version: int = 0, perplexities: tuple[float, ...] = (9.0, 7.5), **record: Any
) -> Path:
    """Writes a run with a validation after each ten steps.

    Args:
        root: Where `lightning_logs` is.
        perplexities: Of its validations; bits per byte are a tenth.
        record: Changes to `RECORD`.
    """
    run = root / "lightning_logs" / name / f"version_{version}"
    (run / "checkpoints").mkdir(parents=True)
    settings = {"data": {"source": "notes/consultations.csv"}, "model": {"base": "bases/smollm2", "lora": None}}
    (run / "config.yaml").write_text("# The run began with --config a.yaml\n" + yaml.safe_dump(settings))
    lines = [HEADER]
    for number, perplexity in enumerate(perplexities):
        lines += [f"0,{10 * number + 8},3.1,,", f"0,{10 * number + 9},,{perplexity / 10},{perplexity}"]
    (run / "metrics.csv").write_text("\n".join(lines) + "\n")
    RunRecord(**{**RECORD.__dict__, "end": "epochs", "ended": "2026-01-02", **record}).write(run)
    (run / "checkpoints" / "last.ckpt").write_text("")
    return run


def set_age(run: Path, minutes: int) -> None:
    """Makes a run's files so old."""
    for path in (run, *run.rglob("*")):
        time = path.stat().st_mtime - 60 * minutes
        os.utime(path, (time, time))


def write_test(run: Path, perplexity: float, rows: str = "test-1") -> None:
    content = {"test/perplexity": perplexity, "test/bits_per_byte": 1.0, "rows": rows}
    (run / "test.json").write_text(json.dumps(content))
