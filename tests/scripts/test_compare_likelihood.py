"""compare_likelihood gives the perplexities of `test`, and narrower intervals of differences than of models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests import tiny
from tests.cli.helpers import read_json, write_small_config
from tests.cli.test_bases import save_base
from tests.model_fixtures import folder  # noqa: F401 - pytest finds fixtures here by name

Script = Callable[[str], ModuleType]


def test_figures_are_those_of_test(
    script: Script,
    folder: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base, config = save_base(tmp_path), write_small_config(folder, tmp_path, max_steps=4)
    options = ["--model.from_scratch", "null", "--model.base", base, "--model.lr", "0.01"]
    run = tmp_path / "lightning_logs" / "small" / "version_0"
    checkpoint = run / "checkpoints" / "last.ckpt"
    for words in (
        ["fit", "--config", config, *options],
        ["test", "--ckpt_path", checkpoint],
        ["export", "--checkpoint", checkpoint, "--output", tmp_path / "export"],
        ["export", "--checkpoint", checkpoint, "--output", tmp_path / "again"],
    ):
        assert tiny.command(*words, cwd=tmp_path)[0] == 0
    models = [f"--model={name}={tmp_path / name}" for name in ("export", "again")]
    figures = tmp_path / "figures.json"
    main = script("compare_likelihood").main
    assert main(["--config", str(run / "config.yaml"), *models, "--json", str(figures)]) == 0
    found, expected = json.loads(figures.read_text()), read_json(run / "test.json")
    for name in ("perplexity", "bits_per_byte"):
        measured = found["models"]["export"][name]
        assert measured["value"] == pytest.approx(expected[f"test/{name}"], rel=1e-5)
        assert measured["low"] < measured["value"] < measured["high"]
    difference = found["differences"][0]["loss"]
    assert difference["low"] == difference["value"] == difference["high"] == 0  # two exports of one checkpoint
    assert "again - export" in capsys.readouterr().out


def test_resamples_are_the_same_rows_for_each_model(script: Script) -> None:
    module = script("compare_likelihood")
    rng = np.random.default_rng(0)
    nll, tokens = rng.uniform(10, 90, 50), np.full(50, 20.0)
    models = {
        "one": module.RowLikelihood(nll, tokens, tokens * 5),
        "other": module.RowLikelihood(nll - 2.0, tokens, tokens * 5),  # better by a tenth of a nat on every row
    }
    _, figures = module.report(models, seed=1)
    difference = figures["differences"][0]["loss"]
    assert difference["value"] == pytest.approx(-0.1)
    assert difference["high"] - difference["low"] < 1e-9
    one = figures["models"]["one"]["bits_per_byte"]
    assert one["value"] == pytest.approx(nll.sum() / np.log(2) / 5000)
    assert one["high"] - one["low"] > 0.1


def test_what_is_no_model_is_refused(script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script("compare_likelihood").main(["--config", str(tmp_path / "none.yaml"), "--model", "x"]) == 2
    assert "is no run's config.yaml" in capsys.readouterr().err
