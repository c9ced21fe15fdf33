"""The keys change with the code and the libraries that shape rows, and with no other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import PreTrainedTokenizerFast

from lightning_med.data.preparation.cache import keys
from lightning_med.data.preparation.cache.key_parts import KeyParts
from lightning_med.data.preparation.cache.keys import (
    PACKAGE,
    ROW_CODE,
    TOKEN_CODE,
    describe_rows,
    describe_tokens,
    find_code,
)
from lightning_med.tokenization.prompts import Prompt
from tests.data.preparation.helpers import recipe, write

# Code that preparation imports or opens, but that does not decide what a row becomes.
SHAPES_NO_ROW = (
    "**/__init__.py",  # names of packages, imported when they are used
    "version.py",  # the code itself is in the keys
    "data/preparation/pipeline.py",  # calls the passes in their order
    "data/preparation/recipe.py",  # the settings themselves are in the keys
    "data/preparation/worker_pool.py",  # gives results back in order
    "data/preparation/cache/*.py",  # names, locks and renames folders
    "data/sources/kaggle.py",  # downloads: what arrives is in the keys
    "data/splits/own_splits.py",  # the split that it finds for each file is in the keys
    "utils/*.py",  # errors, files, downloads
    "utils/memory/*.py",
)

CODE = """
import json, sys
opened = set()
sys.addaudithook(lambda event, given: opened.add(str(given[0])) if event == "open" else None)
from lightning_med.data.cleaning.cleaner import resolve_rules
from lightning_med.data.preparation.pipeline import prepare
from lightning_med.data.preparation.recipe import Recipe
from lightning_med.data.sources.source import parse_sources
settings, tokenizers, cache = json.loads(sys.argv[1])
settings["sources"] = tuple(parse_sources(settings["sources"], question_column="input", answer_column="output"))
settings["check_against"] = tuple(settings["check_against"])
settings["rules"] = resolve_rules({"cut_answer": True, "lost_words": True, "unsafe_advice": True})
for tokenizer in tokenizers:
    prepare(Recipe(**settings, tokenizer=tokenizer), cache)
modules = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "lightning_med"]
print(json.dumps([modules, sorted(opened)]))
"""


@pytest.fixture
def used(chats_and_tables: list[Any], tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> set[Path]:
    """The package's files that a preparation with every kind of source and tokenizer imports or opens."""
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    table = pd.read_csv(chats_and_tables[0])
    table.to_parquet(tmp_path / "table.parquet")
    table.to_json(tmp_path / "table.json", orient="records")
    settings = dict.fromkeys(("private_data", "near_duplicates"), True)
    settings |= dict.fromkeys(("test_fraction", "val_fraction"), 0.2)
    settings |= {"system_prompt": "Be kind.", "max_length": 256, "eval_max_length": 256, "vocab_size": 400, "seed": 1}
    settings |= {"on_bad_row": "drop", "check_against": [str(write(tmp_path / "test.csv", [("Why?", "No.")]))]}
    settings["sources"] = [*chats_and_tables, *(str(tmp_path / f"table.{ending}") for ending in ("parquet", "json"))]
    given = json.dumps([settings, ["train", str(tmp_path / "tokenizer")], str(tmp_path / "cache")])
    done = subprocess.run([sys.executable, "-c", CODE, given], capture_output=True, text=True, check=True)
    modules, opened = json.loads(done.stdout.splitlines()[-1])
    files = {Path(path).resolve() for path in (*modules, *opened) if path}
    return {file for file in files if file.is_relative_to(PACKAGE) and file.is_file() and file.suffix != ".pyc"}


def find_all(patterns: tuple[str, ...]) -> set[Path]:
    return {file for pattern in patterns for file in PACKAGE.glob(pattern)}


def test_all_code_that_preparation_uses_is_listed_and_no_other(used: set[Path]) -> None:
    names = {file.relative_to(PACKAGE).as_posix() for file in used}
    assert {"data/preparation/clean_chunk.py", "tokenization/encoder.py", "privacy/given_names.txt"} <= names
    assert "safety/answers/answer_rules.yaml" in names
    listed = {file for pattern in (*ROW_CODE, *TOKEN_CODE) for file in find_code(pattern)}
    assert sorted(used - listed - find_all(SHAPES_NO_ROW)) == [], "does it shape rows, or not?"
    assert sorted(listed - used) == [], "listed, but not used"
    assert [pattern for pattern in SHAPES_NO_ROW if not find_all((pattern,)) & used] == [], "exempt, but not used"
    unlisted = find_all(tuple(pattern for pattern in SHAPES_NO_ROW if pattern != "**/__init__.py"))
    assert sorted(listed & unlisted) == []


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's files whose keys are taken."""
    folder = tmp_path / "package"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(keys, "PACKAGE", folder)
    return folder


def make_keys() -> tuple[str, str]:
    """Of clean rows and of tokens."""
    parts = KeyParts(describe_rows(recipe("a.csv"), b"content"), describe_tokens(recipe("a.csv"), None, Prompt()))
    return parts.rows_key, parts.tokens_key


def test_code_that_shapes_no_row_is_in_no_key(package: Path) -> None:
    before = make_keys()
    others = ["safety/messages/encoder/classifier.onnx", "safety/messages/advice.yaml", "safety/medical_terms.yaml"]
    others += ["safety/answers/guard.py", "tokenization/chat_template.jinja"]
    others += ["data/module.py", "data/batching/batch_plan.py", "data/report/data_report.py", "training/module.py"]
    others += ["data/preparation/pipeline.py", "utils/files.py"]
    for name in others:
        with (package / name).open("ab") as file:
            file.write(b"\n")
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / ".DS_Store").write_bytes(b"Bud1")
        (folder / "__pycache__").mkdir(exist_ok=True)
        (folder / "__pycache__" / "encoder.cpython-311.pyc").write_bytes(b"compiled")
        for name in (
            "._rules.py",
            "rules.py~",
            "#rules.py#",
            "rules (copy).py",
            "rules.sync-conflict.py",
            ".names.txt.swp",
        ):
            (folder / name).write_bytes(b"left behind")
        (folder / ".#rules.py").symlink_to("user@host.1234")  # Emacs' lock of a file that is being edited
    assert make_keys() == before


def test_ends_of_lines_are_in_no_key(package: Path) -> None:
    before = make_keys()
    for file in {file for pattern in (*ROW_CODE, *TOKEN_CODE) for file in find_code(pattern)}:
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert make_keys() == before


def test_keys_are_of_the_code_that_shapes_each_level(package: Path) -> None:
    seen = [make_keys()]
    for name in ("data/cleaning/cleaning_rules.py", "privacy/given_names.txt", "data/splits/word_hashes.py"):
        with (package / name).open("ab") as file:
            file.write(b"\n")
        seen.append(make_keys())
        assert seen[-1][0] != seen[-2][0]
        assert seen[-1][1] != seen[-2][1]
    for name in ("data/splits/group_split.py", "tokenization/encoder.py", "data/preparation/token_store.py"):
        with (package / name).open("ab") as file:
            file.write(b"\n")
        seen.append(make_keys())
        assert seen[-1][0] == seen[-2][0]
        assert seen[-1][1] != seen[-2][1]
    assert len(set(seen)) == 7


@pytest.mark.parametrize("name", [*keys.ROW_LIBRARIES, *keys.TOKEN_LIBRARIES])
def test_keys_are_of_the_libraries_that_shape_each_level(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before, version = make_keys(), keys.version
    monkeypatch.setattr(keys, "version", lambda library: version(library) + "x" * (library == name))
    assert (make_keys()[0] == before[0]) == (name in keys.TOKEN_LIBRARIES)
    assert make_keys()[1] != before[1]


def test_a_pattern_that_matches_nothing_is_noticed(package: Path) -> None:
    (package / "safety" / "yaml_files.py").unlink()
    with pytest.raises(FileNotFoundError, match="yaml_files"):
        make_keys()
