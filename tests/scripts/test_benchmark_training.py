"""The race of training's contenders runs, gives every figure, and gives every contender the same ids."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

Script = Callable[[str], ModuleType]
FIGURES = ("useful_tokens_per_second", "peak_memory_bytes", "final_loss", "utilisation")

pytest.importorskip("psutil")


@pytest.fixture(scope="module")
def words(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("words")
    tokenizer.save_pretrained(folder)
    return str(folder)


def _present(contenders: dict[str, tuple[str, tuple[str, ...]]]) -> list[str]:
    return [name for name, (_, needs) in contenders.items() if all(map(find_spec, needs))]


def test_every_contender_gives_all_figures_from_the_same_ids(
    script: Script, words: str, consultations: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, output = script("benchmark_training"), tmp_path / "figures.json"
    names = _present(module.CONTENDERS)
    assert {"loop", "ours"} <= set(names)
    sizes = {"rows": 40, "updates": 2, "repetitions": 1, "batch": 4, "length": 96, "layers": 2, "width": 32, "heads": 2}
    given = {"data": consultations(40), "tokenizer": words, "json": output, "only": ",".join(names), **sizes}
    status = module.main([word for name, value in given.items() for word in (f"--{name}", str(value))])
    said = capsys.readouterr()
    assert status == 0, said.err
    found = json.loads(output.read_text(encoding="utf-8"))
    for name in names:
        assert all(math.isfinite(found[name][figure]) and found[name][figure] > 0 for figure in FIGURES)
        assert found[name]["utilisation"] < 1
        assert found[name]["final_loss"] < 1.05 * math.log(600)  # about a guess over the vocabulary, or better
        assert f"| {name} |" in said.out
    assert len({found[name]["ids"] for name in names}) == 1
    assert found["gemm_peak_flops"] > 0
    assert (found["rows"], found["updates"], found["system_prompt"]) == (40, 2, False)


def test_a_batch_is_counted_without_padding_and_prompt(script: Script) -> None:
    kind = script("training.rows").Rows
    #          a prompt, two of a question, a prompt, two of an answer; then one of each
    parts = np.array([0, 1, 1, 0, 2, 2, 0, 1, 0, 2], dtype=np.uint8)
    rows = kind(np.arange(10), parts, np.array([0, 6, 10]))
    whole = rows.share([0, 1])
    assert (whole.useful, whole.tokens, whole.squares, whole.answers) == (6, 10, 6**2 + 4**2, 3)
    assert whole.rows == pytest.approx(2)
    cut = rows.share_of(np.arange(3)) + rows.share_of(np.arange(3, 10))
    assert (cut.useful, cut.tokens, cut.squares, cut.answers) == (6, 10, 6**2 + 4**2, 3)
    assert rows.labels.tolist() == [-100, -100, -100, -100, 4, 5, -100, -100, -100, 9]
    assert rows.number([6, 7, 8, 9]) == 1
    with pytest.raises(KeyError):
        rows.number([6, 7, 8])


def test_packed_blocks_hold_the_rows_end_to_end_with_targets_one_place_on(script: Script) -> None:
    rows = script("training.rows").Rows(np.arange(40), np.full(40, 2, dtype=np.uint8), np.arange(0, 41, 5))
    ids, targets, share = next(script("training.loops")._blocks(rows, 2, 8, 0))
    assert ids.shape == targets.shape == (2, 8)
    assert ids.flatten()[1:].tolist() == targets.flatten()[:-1].tolist()
    assert share.tokens == 16


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--only", "ours,theirs"], "no such contender"),
        (["--updates", "0"], "--updates is 0"),
        (["--width", "32", "--heads", "3"], "no multiple"),
    ],
)
def test_a_wrong_option_is_said(
    script: Script, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    options = ["--tokenizer", words, "--json", str(tmp_path / "figures.json")]
    assert script("benchmark_training").main([*options, "--only", "ours", *more]) == 2
    assert said in capsys.readouterr().err


def test_a_missing_library_is_said_at_the_start(
    script: Script, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = script("benchmark_training")
    monkeypatch.setitem(module.CONTENDERS, "trl", ("training.trainers", ("no_such_library",)))
    assert module.main(["--tokenizer", words, "--json", str(tmp_path / "figures.json"), "--only", "trl"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "no_such_library" in said[0]
    assert "pip install -e '.[bench]'" in said[1]
