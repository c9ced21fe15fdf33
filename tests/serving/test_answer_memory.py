"""A thousand questions from a file: bounded memory, and the same file after two kills."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import tiny

ROWS, FEW = 1_000, 256  # as many as are read at once
NETWORK = {**tiny.NETWORK, "n_layer": 4, "n_embd": 256, "n_head": 4, "n_positions": 320}  # 3.3 million weights
KILLED = """
import os, signal, sys
from lightning_med.cli.command import main
from lightning_med.inference.part_file import PartFile

append, left = PartFile.append, int(sys.argv.pop(1))

def append_or_die(self, rows):
    global left
    append(self, rows)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

PartFile.append = append_or_die
sys.exit(main())
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    settings = tiny.settings(folder, max_steps=1, callbacks=[])
    settings["model"] |= {"from_scratch": NETWORK, "max_new_tokens": 24}
    settings["samples"] = {"questions": 0}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    status, _, err = tiny.command("fit", "--config", folder / "tiny.yaml", cwd=folder)
    assert status == 0, err
    checkpoint = folder / "lightning_logs" / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    status, _, err = tiny.command("export", "--checkpoint", checkpoint, "--output", folder / "export")
    assert status == 0, err
    return folder / "export"


def run(*words: object) -> tuple[int, float]:
    """Runs the command in a process of its own; returns how it ended, and its peak memory in GB."""
    argv = [sys.executable, "-c", KILLED, *map(str, words)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024 / 1e9


@pytest.mark.slow
def test_a_thousand_questions_take_bounded_memory_and_survive_two_kills(model: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    questions = tmp_path / "questions.txt"
    questions.write_text("".join(f"{' '.join(rng.choices(tiny.WORDS, k=rng.randint(3, 60)))}?\n" for _ in range(ROWS)))
    whole, output = tmp_path / "whole.jsonl", tmp_path / "answers.jsonl"
    command = ("respond", "--model", model, "--input", questions, "--output")
    few = tmp_path / "few.txt"
    few.write_text("".join(questions.read_text().splitlines(keepends=True)[:FEW]))
    status, least = run(0, "respond", "--model", model, "--input", few, "--output", tmp_path / "few.jsonl")
    assert status == 0
    status, peak = run(0, *command, whole)
    assert status == 0
    assert peak < least + 0.25
    for _ in range(2):
        status, peak = run(rng.randint(2, 12), *command, output)
        assert status == -9
        assert not output.exists()
    status, peak = run(0, *command, output)
    assert status == 0
    assert peak < least + 0.25
    assert output.read_bytes() == whole.read_bytes()
    assert [json.loads(line)["row"] for line in output.open(encoding="utf-8")] == list(range(ROWS))
