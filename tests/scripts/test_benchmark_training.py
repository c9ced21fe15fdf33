"""benchmark_training runs all contenders on the same token ids and reports every figure."""

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
def tokenizer_folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder)
    return str(folder)


def list_installed(contenders: dict[str, tuple[str, tuple[str, ...]]]) -> list[str]:
    return [name for name, (_, needs) in contenders.items() if all(map(find_spec, needs))]


def test_every_contender_gives_all_figures_from_the_same_ids(
    script: Script,
    tokenizer_folder: str,
    consultations: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, output = script("benchmark_training"), tmp_path / "figures.json"
    names = list_installed(module.CONTENDERS)
    assert {"loop", "ours"} <= set(names)
    sizes = {"rows": 40, "updates": 2, "repetitions": 1, "batch": 4, "length": 96, "layers": 2, "width": 32, "heads": 2}
    options = {
        "data": consultations(40),
        "tokenizer": tokenizer_folder,
        "json": output,
        "only": ",".join(names),
        **sizes,
    }
    status = module.main([word for name, value in options.items() for word in (f"--{name}", str(value))])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    results = json.loads(output.read_text(encoding="utf-8"))
    for name in names:
        assert all(math.isfinite(results[name][figure]) and results[name][figure] > 0 for figure in FIGURES)
        assert results[name]["utilisation"] < 1
        assert results[name]["final_loss"] < 1.05 * math.log(600)  # about a guess over the vocabulary, or better
        assert f"| {name} |" in printed.out
    assert len({results[name]["ids"] for name in names}) == 1
    assert results["gemm_peak_flops"] > 0
    assert (results["rows"], results["updates"], results["system_prompt"]) == (40, 2, False)


def test_useful_tokens_exclude_padding_and_prompt(script: Script) -> None:
    rows_class = script("training.rows").Rows
    # prompt, question, question, prompt, answer, answer; prompt, question, prompt, answer
    parts = np.array([0, 1, 1, 0, 2, 2, 0, 1, 0, 2], dtype=np.uint8)
    rows = rows_class(np.arange(10), parts, np.array([0, 6, 10]))
    work = rows.count_work([0, 1])
    assert (work.useful, work.tokens, work.squares, work.answers) == (6, 10, 6**2 + 4**2, 3)
    assert work.rows == pytest.approx(2)
    cut = rows.count_token_work(np.arange(3)) + rows.count_token_work(np.arange(3, 10))
    assert (cut.useful, cut.tokens, cut.squares, cut.answers) == (6, 10, 6**2 + 4**2, 3)
    assert rows.labels.tolist() == [-100, -100, -100, -100, 4, 5, -100, -100, -100, 9]
    assert rows.find_row([6, 7, 8, 9]) == 1
    with pytest.raises(KeyError):
        rows.find_row([6, 7, 8])


def test_packed_blocks_are_concatenated_rows_with_the_next_token_as_target(script: Script) -> None:
    rows = script("training.rows").Rows(np.arange(40), np.full(40, 2, dtype=np.uint8), np.arange(0, 41, 5))
    ids, targets, work = next(script("training.loops")._make_blocks(rows, 2, 8, 0))
    assert ids.shape == targets.shape == (2, 8)
    assert ids.flatten()[1:].tolist() == targets.flatten()[:-1].tolist()
    assert work.tokens == 16


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--only", "ours,theirs"], "no such contender"),
        (["--updates", "0"], "--updates is 0"),
        (["--width", "32", "--heads", "3"], "no multiple"),
    ],
)
def test_a_wrong_option_is_reported(
    script: Script,
    tokenizer_folder: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    options = ["--tokenizer", tokenizer_folder, "--json", str(tmp_path / "figures.json")]
    assert script("benchmark_training").main([*options, "--only", "ours", *more]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_library_is_reported_before_the_work(
    script: Script,
    tokenizer_folder: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = script("benchmark_training")
    monkeypatch.setitem(module.CONTENDERS, "trl", ("training.trainers", ("no_such_library",)))
    options = ["--tokenizer", tokenizer_folder, "--json", str(tmp_path / "figures.json"), "--only", "trl"]
    assert module.main(options) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "no_such_library" in lines[0]
    assert "pip install -e '.[bench]'" in lines[1]
