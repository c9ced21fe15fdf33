"""check_runtimes finds an export that another program would read as another model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lightning_med.export.gguf.folder import write_gguf_folder
from lightning_med.export.hf_folder import write_hf_folder
from tests.export.models import MODELS, make_model


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    for name, fields in (("right", {}), ("wrong", {"rms_norm_eps": 0.1})):
        family, own, tokenizer = MODELS["llama"]
        model = make_model(family, {**own, **fields}, tokenizer)
        for kind, write in (("hf", write_hf_folder), ("gguf", write_gguf_folder)):
            (folder / name / kind).mkdir(parents=True)
            write(model, folder / name / kind, "float32", lambda *_: None)
    return folder


@pytest.mark.parametrize(("gguf", "status", "last"), [("right", 0, "all equal"), ("wrong", 1, "1 wrong")])
def test_logits_that_differ_are_found(
    script: Callable[[str], ModuleType],
    exports: Path,
    capsys: pytest.CaptureFixture[str],
    gguf: str,
    status: int,
    last: str,
) -> None:
    argv = [str(exports / "right" / "hf"), "--gguf", str(exports / gguf / "gguf"), "--questions", "2"]
    assert script("check_runtimes").main(argv) == status
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1] == last
    assert ("WRONG" in lines[1]) == (status == 1)


@pytest.mark.parametrize(
    "argv",
    [["--questions", "0"], ["--data", "none.csv"], ["--column", "none"], ["other", "--gguf", "x"], ["--threads", "0"]],
)
def test_wrong_options_are_two_lines(
    script: Callable[[str], ModuleType], exports: Path, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    assert script("check_runtimes").main([str(exports / "right" / "hf"), *argv]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 2


def test_an_interpreter_that_fails_is_named(
    script: Callable[[str], ModuleType], exports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [str(exports / "right" / "hf"), "--questions", "1", "--transformers4", "/bin/false"]
    assert script("check_runtimes").main(argv) == 1
    assert "transformers4_worker.py failed" in capsys.readouterr().err
