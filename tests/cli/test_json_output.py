"""`--json`: standard output holds one object for a program, and nothing else."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import socket
from pathlib import Path

import pytest
import yaml

from lightning_med.checkpoints.run_facts import read_facts
from lightning_med.checkpoints.run_groups import Comparison
from lightning_med.cli.output.json_output import collect_result, print_object
from lightning_med.cli.output.results import write_results
from lightning_med.cli.output.run_table import describe_run, format_lines
from lightning_med.cli.verbs import serve
from tests import tiny
from tests.checkpoints.runs import make_run


def call(*argv: object, cwd: Path | None = None) -> tuple[dict, str]:
    """Runs a verb with `--json`; returns the object and standard error."""
    status, out, err = tiny.command(*argv, "--json", cwd=cwd)
    assert status == 0, err
    assert len(out.splitlines()) == 1
    return json.loads(out), err


def test_what_json_lacks_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    with collect_result(True) as result:
        print("for people")
        result |= {"path": Path("a/b"), "list": (1, math.inf), "nested": {1: math.nan}}
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == ({"path": "a/b", "list": [1, None], "nested": {"1": None}}, "for people\n")


@pytest.mark.parametrize("verb", ["test", "validate"])
def test_a_file_of_results_is_json_too_where_a_figure_is_not_finite(tmp_path: Path, verb: str) -> None:
    run = make_run(tmp_path)
    metrics = {"test/perplexity": math.inf, "test/loss": math.nan, "test/tokens": 9}
    result = write_results(run / f"{verb}.json", metrics, "a.ckpt", "data-1", "test-1")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    stored = json.loads((run / f"{verb}.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert (stored["test/perplexity"], stored["test/loss"], stored["test/tokens"]) == (None, None, 9)
    printed = io.StringIO()
    print_object(result, printed)
    assert json.loads(printed.getvalue())["metrics"] == {name: stored[name] for name in metrics}


def test_a_figure_of_a_test_that_was_not_finite_is_unknown_in_the_table(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_results(run / "test.json", {"test/perplexity": math.inf}, "a.ckpt", "data-1", "test-1")
    facts = read_facts(run)
    comparison = Comparison.of([facts])
    described = describe_run(facts, comparison)
    assert (described["test/perplexity"], described["test_is_elsewhere"]) == (None, False)
    titles, cells = (line.split() for line in format_lines([facts], comparison))
    assert cells[titles.index("test")] == "-"


def test_an_error_leaves_standard_output_empty(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(ValueError), collect_result(True) as result:
        result["half"] = True
        raise ValueError
    assert capsys.readouterr().out == ""


def test_without_it_all_goes_where_it_went() -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), collect_result(False) as result:
        print("for people")
        result["more"] = 1
    assert out.getvalue() == "for people\n"


def test_test_says_where_its_figures_are(shared_run: Path, tmp_path: Path) -> None:
    checkpoint = shared_run / "checkpoints" / "last.ckpt"
    result, err = call("test", "--ckpt_path", checkpoint, "--output", tmp_path / "test.json")
    assert result["results"] == str(tmp_path / "test.json")
    assert result["checkpoint"] == str(checkpoint)
    stored = json.loads((tmp_path / "test.json").read_text())
    assert result["metrics"] == {name: stored[name] for name in result["metrics"]}
    assert result["metrics"]["test/perplexity"] > 1
    assert "test/perplexity" in err


def test_a_finished_run_says_how_many_steps_it_has_done(folder: Path, run: Path, tmp_path: Path) -> None:
    result, err = call("fit", "--config", folder / "tiny.yaml", "--name", "tiny", "--resume", "auto", cwd=tmp_path)
    assert "is finished, at step 16" in err
    assert (result["steps"], result["run"]) == (16, str(run.relative_to(tmp_path)))


def test_prepare_says_where_the_report_is(tmp_path: Path, cache: Path) -> None:
    options = ("--config", tiny.config(tmp_path), "--output", tmp_path / "report")
    result, err = call("prepare", *options)
    assert Path(result["report"]).is_file()
    assert Path(result["cache"]).is_dir()
    assert sum(result["rows"].values()) == 60
    assert "next: lightning-med fit" in err


def test_prepare_needs_none_of_what_only_the_fit_uses(folder: Path, tmp_path: Path) -> None:
    cluster = {"accelerator": "gpu", "devices": 8, "num_nodes": 2, "strategy": "ddp", "precision": "bf16-mixed"}
    config = tmp_path / "cluster.yaml"
    config.write_text(yaml.safe_dump({**tiny.settings(folder, **cluster), "logger": "wandb"}))
    result, _ = call("prepare", "--config", config, "--output", tmp_path / "report")
    assert Path(result["report"]).is_file()


def test_export_and_respond_name_their_output(shared_run: Path, tmp_path: Path) -> None:
    checkpoint = shared_run / "checkpoints" / "last.ckpt"
    result, err = call("export", "--checkpoint", checkpoint, "--output", tmp_path / "model")
    assert result == {"export": str(tmp_path / "model"), "format": "hf"}
    assert "next: lightning-med respond" in err
    (tmp_path / "questions.txt").write_text("My ear hurts.\n\n")
    options = ("--input", tmp_path / "questions.txt", "--output", tmp_path / "answers.jsonl")
    result, _ = call("respond", "--model", tmp_path / "model", *options)
    assert result["answers"] == str(tmp_path / "answers.jsonl")
    assert result["rows"] == len((tmp_path / "answers.jsonl").read_text().splitlines())


def test_a_server_says_at_which_port_it_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        serve._say_where(argparse.Namespace(host="127.0.0.1", json=True), listening)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    out, err = capsys.readouterr()
    assert json.loads(out) == {"page": url, "programs": f"{url}/v1"}
    assert f"page      {url}" in err


def test_versions_are_an_object() -> None:
    result, _ = call("--version")
    assert {"lightning-med", "torch", "lightning", "transformers"} == set(result)
