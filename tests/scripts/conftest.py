"""A synthetic corpus, made once for all tests of the scripts."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tests.conftest import ROOT

ROWS = 2000
Line = dict[str, Any]
Corpus = tuple[Path, Path]


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """Imports a script by its name, as running it would."""

    def load(name: str) -> ModuleType:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(ROOT / "scripts"))
            return import_module(name)

    return load


@pytest.fixture(scope="session")
def make(
    script: Callable[[str], ModuleType], tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Corpus]:
    """Runs make_corpus in a new folder and names the table and the truth file."""
    saved = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(saved)

    def run(rows: int = ROWS, *more: str) -> Corpus:
        folder = tmp_path_factory.mktemp("corpus")
        table, truth = folder / "corpus.csv", folder / "truth.jsonl"
        options = ["--rows", str(rows), "--output", str(table), "--truth", str(truth), "--tokenizer", str(saved)]
        assert script("make_corpus").main([*options, *more]) == 0
        return table, truth

    return run


@pytest.fixture(scope="session")
def corpus(make: Callable[..., Corpus]) -> Corpus:
    """A corpus with everything planted."""
    return make()


@cache
def read(corpus: Corpus) -> tuple[list[dict[str, str]], list[Line]]:
    """The rows and the lines of the truth file."""
    with corpus[0].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, [json.loads(line) for line in corpus[1].read_text(encoding="utf-8").splitlines()]
