"""measure_corpus reports what a preparation leaves in a corpus, and finds nothing in a correct one."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from random import Random
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from lightning_med.data.splits.group_split import SPLITS
from tests.scripts.conftest import ROWS, Corpus, Line, read


def prepare(corpus: Corpus, folder: Path, private: bool = True, grouped: bool = True, values: bool = True) -> Path:
    """Prepares a corpus correctly by reading the truth file; each switch introduces one kind of error."""
    rows, truth = read(corpus)
    cells = {number: {"question": row["input"], "answer": row["output"]} for number, row in enumerate(rows)}
    names, group = {"input": "question", "output": "answer"}, list(range(len(rows)))
    for line in sorted(truth, key=lambda line: (line["row"], -line["start"])):
        cell, name = cells.get(line["row"]), names[line["column"]]
        if line["kind"] in ("missing", "blank", "short", "duplicate"):
            cells.pop(line["row"], None)
        elif "of" in line:
            group[line["row"]] = group[line["of"]] if grouped else line["row"]
        elif line["kind"] == "clean":
            cell[name] = cell[name] if values else cell[name].replace(" mg", " g")
        elif private:
            cell[name] = cell[name][: line["start"]] + "[GONE]" + cell[name][line["end"] :]
    side = {each: Random(each).random() for each in group}
    limits = dict(zip(SPLITS, ((0.2, 1.0), (0.1, 0.2), (0.0, 0.1)), strict=True))
    folder.mkdir()
    for split, (low, high) in limits.items():
        kept = [number for number in cells if low <= side[group[number]] < high]
        frame = pd.DataFrame([cells[number] for number in kept], columns=["question", "answer"])
        frame = frame.assign(source="corpus", row=kept, turn=0, group=[group[number] for number in kept])
        frame.to_parquet(folder / f"{split}.parquet")
    return folder


@pytest.fixture
def measured(script: Callable[[str], ModuleType], corpus: Corpus, tmp_path: Path) -> Callable[..., tuple[int, Line]]:
    """Measures a corpus that `prepare` prepared: the exit status and the JSON file."""

    def run(**wrong: bool) -> tuple[int, Line]:
        prepared, file = prepare(corpus, tmp_path / "prepared", **wrong), tmp_path / "measured.json"
        options = ["--truth", str(corpus[1]), "--prepared", str(prepared), "--json", str(file)]
        return script("measure_corpus").main(options), json.loads(file.read_text(encoding="utf-8"))

    return run


def test_a_right_preparation_is_found_right(
    measured: Callable[..., tuple[int, Line]], script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    status, result = measured()
    assert status == 0
    assert {entry["kind"] for entry in result["private"]} == set(script("synthetic.private_data").KINDS)
    assert all(entry["recall"] == 1.0 for entry in result["private"])
    assert result["left"] == {}
    assert result["clean"]["measured"] == result["clean"]["lines"] > ROWS
    assert result["clean"]["altered"] == result["clean"]["numbers_altered"] == result["alike_on_two_sides"] == 0
    assert not any(count.get("two_sides") or count.get("no_shared_group") for count in result["pairs"].values())
    assert result["pairs"]["near_duplicate"]["measured"] > 10
    assert 0.05 < result["shares"]["test"] < 0.15
    assert "0 altered" in capsys.readouterr().out


def test_private_data_that_is_left_is_told(measured: Callable[..., tuple[int, Line]]) -> None:
    _, result = measured(private=False)
    assert all(entry["recall"] == 0.0 for entry in result["private"])
    assert all(entry["recall"] == 0.0 for entry in result["dirt"] if entry["measured"])
    assert {"phone", "name_signature"} <= set(result["left"])


def test_alike_questions_on_two_sides_are_told(measured: Callable[..., tuple[int, Line]]) -> None:
    status, result = measured(grouped=False)
    assert status == 1
    near = result["pairs"]["near_duplicate"]
    assert near["no_shared_group"] == near["measured"]
    assert near["two_sides"] > 0
    planted = sum(result["pairs"][kind]["two_sides"] for kind in ("near_duplicate", "same_question"))
    assert result["alike_on_two_sides"] >= planted


def test_values_that_are_altered_are_told(measured: Callable[..., tuple[int, Line]]) -> None:
    _, result = measured(values=False)
    assert 0 < result["clean"]["numbers_altered"] <= result["clean"]["altered"] < result["clean"]["measured"]


def test_the_search_finds_what_comparing_all_finds(script: Callable[[str], ModuleType]) -> None:
    generator, tool = np.random.default_rng(1), script("synthetic.shingles")
    texts = ["", "one", "one two", "One, two!"]
    for _ in range(60):
        base = generator.integers(0, 9, generator.integers(1, 30))
        texts += [" ".join(map(str, base)), " ".join(map(str, np.delete(base, generator.integers(len(base)))))]
    sides = generator.integers(0, 3, len(texts))
    for least in (0.5, 0.8, 1.0):
        alike = {
            (one, other)
            for one, other in combinations(range(len(texts)), 2)
            if sides[one] != sides[other]
            and tool.compute_jaccard(tool.make_shingles(texts[one]), tool.make_shingles(texts[other])) >= least
        }
        assert {(a, b) for a, b, _ in script("synthetic.search").find_similar_across(texts, sides, least)} == alike


def test_a_folder_that_is_not_prepared_is_told(
    script: Callable[[str], ModuleType], corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = script("measure_corpus")
    assert tool.main(["--truth", str(corpus[1]), "--prepared", str(tmp_path)]) == 2
    assert "train.parquet does not exist" in capsys.readouterr().err
    assert tool.main(["--truth", str(corpus[0]), "--prepared", str(prepare(corpus, tmp_path / "prepared"))]) == 2
    assert "cannot be read as a truth file" in capsys.readouterr().err
