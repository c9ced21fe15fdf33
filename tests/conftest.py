"""Fixtures and settings of all tests: small consultations, a cache per test, no network."""

from __future__ import annotations

import csv
import gc
import os
from collections.abc import Callable
from pathlib import Path

PARALLEL = "PYTEST_XDIST_WORKER" in os.environ
if PARALLEL:  # read by OpenMP when torch is imported, here and in the processes that tests start
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read by huggingface_hub when it is imported
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest
import torch
from hypothesis import HealthCheck, settings
from transformers import PreTrainedTokenizerFast

from lightning_med.data.sample import PATH as SAMPLE
from lightning_med.tokenization.tokenizer import train_tokenizer

ROOT = Path(__file__).parents[1]
PARTS = ("head", "left ear", "lower back", "right knee", "stomach", "throat", "chest", "tongue", "wrist", "big toe")
SINCE = ("yesterday", "last week", "a month ago", "my last birthday", "the weekend", "a long flight")

torch.set_num_threads(1 if PARALLEL else 2)
settings.register_profile(
    "lightning_med", deadline=None, derandomize=True, max_examples=60, suppress_health_check=list(HealthCheck)
)
settings.load_profile("lightning_med")


def pytest_collection_finish() -> None:
    """Imports stay alive: garbage collections in tests need not walk them."""
    gc.collect()
    gc.freeze()


def consultation(number: int) -> tuple[str, str]:
    """Returns a question and an answer, different for every number."""
    part, since = PARTS[number % len(PARTS)], SINCE[number // len(PARTS) % len(SINCE)]
    question = f"My {part} hurts since {since}, and I am patient number {number}. What should I do?"
    answer = f"I am sorry to hear that. Please rest your {part} and see a doctor within {number + 2} days."
    return question, answer


@pytest.fixture
def consultations(tmp_path: Path) -> Callable[..., Path]:
    """A function `consultations(rows=60, name=…, first=0)` that writes a CSV of different consultations."""

    def write(rows: int = 60, name: str = "consultations.csv", first: int = 0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("input", "output"))
            writer.writerows(consultation(first + number) for number in range(rows))
        return path

    return write


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of prepared data, a new one for each test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("LIGHTNING_MED_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 600 tokens, trained on a part of the sample."""
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:200]
    return train_tokenizer([row[name] for row in rows for name in ("input", "output")], 600)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real consultations and GPT-2's tokenizer: beside the checkout, or `LIGHTNING_MED_REAL_DATA`."""
    folder = Path(os.environ.get("LIGHTNING_MED_REAL_DATA") or ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"no real consultations beside the checkout: {folder}; LIGHTNING_MED_REAL_DATA names another")
    return folder


@pytest.fixture(scope="session")
def real_tables(shared: Path) -> list[Path]:
    """CSV files of real consultations."""
    tables = sorted((shared / "data").glob("*.csv"))
    if not tables:
        pytest.skip(f"no tables of real consultations in {shared / 'data'}")
    return tables


@pytest.fixture(scope="session")
def gpt2_folder(shared: Path) -> Path:
    """A folder with GPT-2's tokenizer."""
    folder = shared / "gpt2-tokenizer"
    if not folder.is_dir():
        pytest.skip(f"no GPT-2 tokenizer in {folder}")
    return folder
