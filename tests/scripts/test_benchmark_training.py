"""benchmark_training runs all contenders on the same token ids and reports every figure."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from tests import tiny

Script = Callable[[str], ModuleType]
FIGURES = (
    *("useful_tokens_per_second", "final_loss", "utilisation"),
    *("peak_memory_bytes", "first_memory_bytes", "last_memory_bytes"),
)

pytest.importorskip("psutil")


@pytest.fixture(scope="module")
def tokenizer_folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder)
    return str(folder)


def list_installed(contenders: dict[str, tuple[str, tuple[str, ...]]]) -> list[str]:
    return [name for name, (_, needs) in contenders.items() if all(map(find_spec, needs))]


@pytest.mark.slow
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


@pytest.fixture
def in_process(script: Script, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, which runs its contenders in this process: a new one takes seconds to import everything."""
    module = script("benchmark_training")
    samples = script("measurement").MemorySamples

    def run(name: str, command: list[object]) -> tuple[dict[str, Any], Any]:
        result = module.run_contender(name, Path(str(command[-1])))
        ends = [end for window in result.get("windows", {}).values() for end in window]
        return json.loads(json.dumps(result)), samples(ends, [1000 * (number + 1) for number in range(len(ends))])

    monkeypatch.setattr(module, "run_measured", run)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are too small for a second thread
    yield module
    torch.set_num_threads(threads)


@pytest.fixture(params=["pretrained", "random"])
def llama(request: pytest.FixtureRequest, tokenizer_folder: str, tmp_path: Path) -> Path:
    """A folder with a tiny Llama, with its weights or without."""
    folder = tmp_path / "llama"
    shutil.copytree(tokenizer_folder, folder)
    config = LlamaConfig(vocab_size=600, tie_word_embeddings=True, **tiny.LLAMA)
    if request.param == "pretrained":
        LlamaForCausalLM(config).save_pretrained(folder)
    config.save_pretrained(folder)
    return folder


def test_a_llama_trains_in_every_contender(
    in_process: ModuleType, llama: Path, consultations: Callable[..., Path], tmp_path: Path
) -> None:
    names = [name for name in list_installed(in_process.CONTENDERS) if name in ("trainer", "trl", "ours")]
    sizes = {"rows": 40, "updates": 2, "repetitions": 1, "batch_tokens": 400, "length": 96}
    options = {"data": consultations(40), "base": llama, "json": tmp_path / "figures.json", "only": ",".join(names)}
    status = in_process.main(
        [word for name, value in {**options, **sizes}.items() for word in (f"--{name}", str(value))]
    )
    assert status == 0
    results = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    pretrained = (llama / "model.safetensors").exists()
    assert results["shape"]["pretrained"] == pretrained
    assert (results["shape"]["family"], results["shape"]["layers"], results["shape"]["width"]) == ("llama", 2, 32)
    for name in names:
        assert all(math.isfinite(results[name][figure]) and results[name][figure] > 0 for figure in FIGURES)
        assert results[name]["final_loss"] < 1.05 * math.log(600)
        assert results[name]["first_memory_bytes"] < results[name]["last_memory_bytes"]
        (measured,) = results[name]["rounds"]
        tokens = measured["useful_tokens"] / results["updates"]
        assert 200 < tokens < 500, name  # of 400 with the prompt's
    assert len({results[name]["ids"] for name in names}) == 1


def test_a_base_without_fused_attention_is_loaded(script: Script, tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    fields = {**sizes, "vocab_size": 300, "num_key_value_heads": 1, "head_dim": 16}
    AutoModelForCausalLM.from_config(Gemma2Config(**fields)).save_pretrained(tmp_path / "start")
    options = {"data": "", "tokenizer": "", "updates": 1, "batch": 1, "length": 8, "system_prompt": ""}
    settings = script("training.settings").Settings(str(tmp_path), **options, base=None, fields={})
    network = settings.load_network()
    assert network(torch.tensor([[1, 2, 3]])).logits.isfinite().all()


@pytest.mark.skipif(find_spec("trl") is None or find_spec("accelerate") is None, reason="trl is not installed")
def test_trl_computes_the_logits_of_the_answers_alone(
    in_process: ModuleType,
    tokenizer_folder: str,
    consultations: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import trl.trainer.utils

    projected: list[tuple[int, int]] = []
    original = trl.trainer.utils._ChunkedLogProbFunction

    class Recording:
        @staticmethod
        def apply(hidden: Any, weight: Any, bias: Any, targets: Any, *more: Any) -> Any:
            projected.append((len(hidden), len(targets)))
            return original.apply(hidden, weight, bias, targets, *more)

    monkeypatch.setattr(trl.trainer.utils, "_ChunkedLogProbFunction", Recording)
    monkeypatch.setattr(trl.trainer.utils, "_use_triton", trl.trainer.utils._use_triton)  # restored at the end
    sizes = {"rows": 40, "updates": 2, "repetitions": 1, "batch": 4, "length": 96, "layers": 1, "width": 32, "heads": 2}
    options = {"data": consultations(40), "tokenizer": tokenizer_folder, "json": tmp_path / "figures.json"}
    argv = [word for name, value in {**options, **sizes}.items() for word in (f"--{name}", str(value))]
    assert in_process.main([*argv, "--only", "trl", "--shape", "llama"]) == 0
    results = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert results["shape"]["family"] == "llama"
    assert projected
    assert all(hidden == targets < 4 * 48 for hidden, targets in projected)  # about half of a row is an answer


def test_the_shape_of_a_llama_is_that_of_smollm2(script: Script) -> None:
    networks = script("training.networks")
    config = AutoConfig.for_model(**networks.make_fields("llama", *networks.SHAPES["llama"]))
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config)
    assert network.num_parameters() == 134_515_008
    assert (config.num_key_value_heads, config.intermediate_size, config.vocab_size) == (3, 1536, 49_152)


def test_memory_is_the_largest_sample_of_a_span(script: Script) -> None:
    memory = script("measurement").MemorySamples([1.0, 2.0, 3.0, 4.0], [10, 40, 30, 20])
    assert memory.find_peak() == 40
    assert memory.find_peak(2.5, 4.5) == 30
    assert memory.find_peak(end=1.5) == 10
    assert memory.find_peak(3.2, 3.8) == 30  # the last one before
    assert memory.find_peak(0.1, 0.2) == 0


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
        (["--batch_tokens", "0"], "--batch_tokens is 0"),
        (["--base", "missing"], "--base missing does not exist"),
        (["--base", ".", "--layers", "2"], "--layers does not change"),
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
