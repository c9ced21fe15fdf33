"""Wrong input: exit status 2, at most two lines, and no files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from tests.cli.helpers import run_refused, write_small_config


def test_ckpt_path_last_without_a_run_starts_one_but_cannot_test(folder: Path, tmp_path: Path) -> None:
    err = run_refused("test", "--config", write_small_config(folder, tmp_path), "--ckpt_path", "last", cwd=tmp_path)
    assert "last" in err
    assert (
        tiny.command("fit", "--config", write_small_config(folder, tmp_path), "--ckpt_path", "last", cwd=tmp_path)[0]
        == 0
    )


def test_a_finished_run_is_refused(folder: Path, run: Path, tmp_path: Path) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    err = run_refused("fit", "--config", write_small_config(folder, tmp_path), "--ckpt_path", checkpoint, cwd=tmp_path)
    assert "max_steps" in err


@pytest.mark.parametrize(
    "argv",
    [
        ["fly"],
        ["fti"],
        ["--nonsense"],
        ["fit", "--nonsense"],
        ["fit", "--model.nonsense", "1"],
        ["fit", "--data.nonsense", "1"],
        ["fit", "--trainer.nonsense", "1"],
        ["fit", "--model.lr", "quick"],
        ["fit", "--trainer.max_steps", "many"],
        ["fit", "--data.batch_tokens", "1.5"],
        ["fit", "--config", "missing.yaml"],
        ["fit", "--trainer.precision", "17-mixed"],
        ["fit", "--trainer.accelerator", "abacus"],
        ["fit", "--name", "../outside"],
        ["fit", "--data.val_fraction", "0.95", "--data.test_fraction", "0.5"],
        ["fit", "--data.batch_tokens", "64"],
        ["fit", "--data.batch_tokens", "some"],
        ["fit", "--data.tokens_per_step", "64"],
        ["fit", "--data.tokens_per_step", "16384", "--trainer.accumulate_grad_batches", "2"],
        ["test"],
        ["validate"],
        ["predict"],
        ["test", "--ckpt_path", "missing.ckpt"],
        ["test", "--ckpt_path", "https://example.org/last.ckpt"],
        ["export"],
        ["export", "--checkpoint", "missing.ckpt", "--output", "out"],
        ["export", "--nonsense"],
        ["respond"],
        ["respond", "--model", "missing", "Why?"],
        ["respond", "--model", "missing", "--nonsense", "Why?"],
        ["prepare", "--nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_input_is_answered_in_two_lines(argv: list[str], tmp_path: Path) -> None:
    run_refused(*argv, cwd=tmp_path)


def test_the_verbs_are_named_that_have_an_option(tmp_path: Path) -> None:
    """The command makes the parser of its own verb alone."""
    assert "It is one of validate, test, predict, prepare." in run_refused("fit", "--output", "x", cwd=tmp_path)
    (tmp_path / "mine.yaml").write_text("output: x\n", encoding="utf-8")
    err = run_refused("fit", "--config", "mine.yaml", cwd=tmp_path)
    assert "It is one of validate, test, predict, prepare." in err


@pytest.mark.parametrize("words", [["validate", "--logger=wandb"], ["prepare", "--logger", "[mlflow]"]], ids=" ".join)
def test_only_a_fit_logs(folder: Path, tmp_path: Path, words: list[str]) -> None:
    err = run_refused(*words, "--config", write_small_config(folder, tmp_path), cwd=tmp_path)
    assert f"--logger: {words[0]} logs nothing" in err


def test_a_mistyped_verb_is_corrected(tmp_path: Path) -> None:
    assert "Did you mean predict?" in run_refused("predcit", cwd=tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"source": "missing.csv"}, "missing.csv"),
        ({"question_column": "question"}, "question"),
        ({"max_length": 10, "batch_tokens": 512}, "max_length"),
        ({"tokenizer": "no/such-tokenizer"}, "no/such-tokenizer"),
    ],
)
def test_missing_data_creates_no_run(folder: Path, tmp_path: Path, change: dict[str, Any], named: str) -> None:
    options = [word for key, value in change.items() for word in (f"--data.{key}", value)]
    err = run_refused("fit", "--config", write_small_config(folder, tmp_path), *options, cwd=tmp_path)
    assert named in err
    assert not (tmp_path / "lightning_logs").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--model.from_scratch", "null", "--model.base", "no/such-model"], "no/such-model"),
        (["--model.from_scratch", "{n_layers: 2}"], "n_layers"),
        (["--model.from_scratch", "{n_layer: two}"], "n_layer"),
        (["--model.from_scratch", "{n_layer: 1, n_embd: 16, n_head: 2, n_positions: 16}"], "context"),
        (["--model.question_weight", "2"], "question_weight"),
        (["--model.from_scratch", "null"], "No model"),
    ],
)
def test_a_model_that_cannot_be_built_creates_no_run(
    folder: Path, tmp_path: Path, options: list[str], named: str
) -> None:
    err = run_refused("fit", "--config", write_small_config(folder, tmp_path), *options, cwd=tmp_path)
    assert named in err
    assert not (tmp_path / "lightning_logs").exists()


def test_a_folder_that_cannot_be_written_creates_no_run(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file, not a folder")
    argv = ("fit", "--config", write_small_config(folder, tmp_path), "--trainer.default_root_dir", tmp_path / "root")
    run_refused(*argv, cwd=tmp_path)


@pytest.mark.parametrize("verb", ["test", "fit", "export"])
@pytest.mark.parametrize("kind", ["text", "empty", "half", "foreign", "code"])
def test_a_file_that_is_not_a_checkpoint_is_refused(
    folder: Path, shared_run: Path, tmp_path: Path, verb: str, kind: str
) -> None:
    path = tmp_path / "last.ckpt"
    intact = (shared_run / "checkpoints" / "last.ckpt").read_bytes()
    content = {"text": b"not a checkpoint", "empty": b"", "half": intact[: len(intact) // 2]}
    if kind in content:
        path.write_bytes(content[kind])
    else:
        torch.save({"weights": torch.ones(2)} if kind == "foreign" else {"state_dict": Touch(tmp_path / "ran")}, path)
    if verb == "export":
        argv: tuple[object, ...] = ("export", "--checkpoint", path, "--output", tmp_path / "out")
    else:
        argv = (verb, "--config", write_small_config(folder, tmp_path), "--ckpt_path", path)
    err = run_refused(*argv, cwd=tmp_path)
    assert "last.ckpt" in err
    assert not (tmp_path / "ran").exists()


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)
