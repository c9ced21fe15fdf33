"""`runs`: the table, its marks, its filters, the next command."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lightning_med.checkpoints import run_groups
from lightning_med.checkpoints.run_facts import RunFacts, read_facts
from lightning_med.checkpoints.run_folder import hold_lock
from lightning_med.checkpoints.run_groups import Comparison
from lightning_med.cli.output.run_table import describe_run, format_lines, make_table
from tests import tiny
from tests.checkpoints.runs import make_run, set_age, write_test


def list_runs(cwd: Path, *options: object) -> list[str]:
    """Returns the lines that `runs` prints."""
    status, out, err = tiny.command("runs", *options, cwd=cwd)
    assert status == 0, err
    return out.splitlines()


def read_runs(cwd: Path, *options: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in list_runs(cwd, "--json", *options)]


def test_a_fit_and_its_test_are_a_row(run: Path, tmp_path: Path) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    assert tiny.command("test", "--ckpt_path", checkpoint, cwd=tmp_path)[0] == 0
    (row,) = read_runs(tmp_path)
    results = json.loads((run / "test.json").read_text())
    assert row["run"] == "tiny/version_0"
    assert (row["status"], row["end"], row["steps_done"], row["steps_planned"]) == ("finished", "epochs", 16, 16)
    assert (row["data"], row["base"], row["adapter"]) == ("consultations.csv", "new gpt2", False)
    assert row["test/perplexity"] == results["test/perplexity"]
    assert row["test_rows"] == results["rows"]
    assert row["test_is_elsewhere"] is False
    assert f"best-{row['best_step']}-{row['val/perplexity']:.2f}.ckpt" in row["checkpoint"]
    lines = list_runs(tmp_path)
    assert lines[-1].startswith(
        "next: lightning-med export --checkpoint lightning_logs/tiny/version_0/checkpoints/best"
    )
    assert "&& lightning-med respond --model lightning_logs/tiny/version_0/export" in lines[-1]


def test_the_best_is_marked_among_runs_on_the_same_rows_in_the_same_tokens(tmp_path: Path) -> None:
    make_run(tmp_path, "a", perplexities=(9.0, 7.0))
    make_run(tmp_path, "b", perplexities=(6.5, 8.0))
    make_run(tmp_path, "c", perplexities=(2.0,), tokenizer="tokens-2")  # other tokens, same rows
    make_run(tmp_path, "d", perplexities=(1.0,), validation="rows-2")  # other rows
    rows = {row["run"][0]: row for row in read_runs(tmp_path, "--sort", "name")}
    assert {name for name, row in rows.items() if row["best"]} == {"b"}
    assert rows["a"]["group"] == rows["b"]["group"]
    assert len({row["group"] for row in rows.values()}) == 3
    lines = list_runs(tmp_path, "--sort", "name")
    assert "6.50*" in lines[2]
    assert not any("*" in lines[number] for number in (1, 4))
    assert "0.200*" in lines[3]  # by bytes, c is better than a and b
    text = "\n".join(lines)
    assert "3 groups (A, B, C): perplexity compares only within one" in text
    assert "A, B have the same validation rows in other tokens: compare their bits per byte." in text


def test_the_best_are_found_once_however_many_runs_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = [read_facts(make_run(tmp_path, version=number, perplexities=(9.0 - number,))) for number in range(4)]
    facts += [read_facts(make_run(tmp_path, "other", tokenizer="tokens-2"))]
    searches: list[int] = []

    def find(runs: list[RunFacts], key: Any) -> RunFacts:
        searches.append(len(runs))
        return sorted(runs, key=key)[0]

    monkeypatch.setattr(run_groups, "min", find, raising=False)
    comparison = Comparison.of(facts)
    make_table(facts, comparison)
    lines = format_lines(facts, comparison)
    assert [describe_run(run, comparison)["best"] for run in facts] == [False, False, False, True, False]
    assert [("6.00*" in line, "0.600*" in line) for line in lines[1:]] == [(False, False)] * 3 + [
        (True, True),
        (False, False),
    ]
    assert sorted(searches) == [4, 5]  # the perplexities of a group, the bits per byte of all


def test_of_other_prompts_or_limits_only_like_compares_with_like(tmp_path: Path) -> None:
    make_run(tmp_path, "a")
    make_run(tmp_path, "b", prompt="q")
    assert len({row["group"] for row in read_runs(tmp_path)}) == 2


def test_rows_can_be_sorted_and_filtered(tmp_path: Path) -> None:
    for number, (name, perplexity) in enumerate((("b", 3.0), ("a", 5.0), ("c", 4.0))):
        set_age(make_run(tmp_path, name, perplexities=(perplexity,)), 10 * number)
    make_run(tmp_path, "a", 10)
    set_age(make_run(tmp_path, "a", 9, perplexities=()), 60)

    def order(*options: object) -> list[str]:
        return [row["run"] for row in read_runs(tmp_path, *options)]

    names = ["a/version_10", "b/version_0", "a/version_0", "c/version_0", "a/version_9"]
    assert order() == names
    assert order("--sort", "name") == ["a/version_0", "a/version_9", "a/version_10", "b/version_0", "c/version_0"]
    assert order("--sort", "perplexity")[:2] == ["b/version_0", "c/version_0"]
    assert order("--sort", "perplexity")[-1] == "a/version_9"  # nothing measured
    assert order("--name", "c") == ["c/version_0"]


@pytest.mark.parametrize("place", [".", "lightning_logs", "lightning_logs/tiny"])
def test_the_folder_is_that_of_all_runs_or_one_that_holds_it(tmp_path: Path, place: str) -> None:
    make_run(tmp_path)
    assert [row["run"] for row in read_runs(tmp_path, place)] == ["tiny/version_0"]


def test_broken_and_empty_runs_are_rows(tmp_path: Path) -> None:
    make_run(tmp_path, "whole")
    (make_run(tmp_path, "cut") / "config.yaml").write_text("data: {source: [")
    (make_run(tmp_path, "half") / "run.json").write_text('{"data"')
    empty = tmp_path / "lightning_logs" / "empty" / "version_0"
    empty.mkdir(parents=True)
    with hold_lock(empty.parent.parent / "whole" / "version_0"):
        rows = {row["run"].partition("/")[0]: row for row in read_runs(tmp_path)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "whole": "running",
        "cut": "broken",
        "half": "broken",
        "empty": "empty",
    }
    text = "\n".join(list_runs(tmp_path))
    assert "cut/version_0: config.yaml is not YAML." in text
    assert "half/version_0: run.json is not JSON." in text


def test_the_next_command_asks_the_best_run_that_is_exported(tmp_path: Path) -> None:
    make_run(tmp_path, "a", perplexities=(9.0,))
    best = make_run(tmp_path, "b", perplexities=(6.0,))
    (best / "export").mkdir()
    (best / "export" / "lightning_med.json").write_text("{}")
    assert list_runs(tmp_path)[-1].startswith("next: lightning-med respond --model lightning_logs/b/version_0/export ")
    assert read_runs(tmp_path, "--name", "b")[0]["exports"] == ["lightning_logs/b/version_0/export"]


@pytest.mark.parametrize("end", ["", "time"])
@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_the_next_command_resumes_the_newest_run_if_it_broke_off(
    tmp_path: Path, end: str, has_checkpoint: bool
) -> None:
    run = make_run(tmp_path, end=end)
    if not has_checkpoint:
        (run / "checkpoints" / "last.ckpt").unlink()
    set_age(make_run(tmp_path, "older", perplexities=(2.0,)), 10)
    resumption = "next: lightning-med fit --config lightning_logs/tiny/version_0/config.yaml --resume auto"
    assert list_runs(tmp_path, "--sort", "perplexity")[-1] == resumption
    make_run(tmp_path, "newer")
    assert list_runs(tmp_path)[-1].startswith("next: lightning-med export")


def test_a_test_on_other_data_is_marked(tmp_path: Path) -> None:
    write_test(make_run(tmp_path), 8.0, rows="other")
    lines = list_runs(tmp_path)
    assert "8.00+" in lines[1]
    assert "+: tested on other rows than the run's own test split." in lines


def test_the_table_fits_80_columns(tmp_path: Path) -> None:
    facts = []
    for number, tokenizer in enumerate(("one", "other")):
        run = make_run(tmp_path, f"a-very-long-name-of-a-run-{number}", 123, tokenizer=tokenizer, steps=100_000, end="")
        write_test(run, 12_345.6, rows="other")
        (run / "export").mkdir()
        (run / "export" / "lightning_med.json").write_text("{}")
        facts.append(read_facts(run))
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    console.print(make_table(facts, Comparison.of(facts)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    for shown in ("version_123", "interrupted", "exported", "7.50", "0.750", "1e+04+", "20", "/100000"):
        assert shown in text, text


@pytest.mark.parametrize(
    ("options", "what", "hint"),
    [
        (["nowhere"], "nowhere: no such folder", "lightning-med runs DIR/lightning_logs"),
        (["empty"], "There are no runs in empty", "lightning-med fit"),
        (["--name", "tine"], "--name tine: there is no run", "Did you mean tiny?"),
        (["--sort", "age"], "--sort cannot be age", "It takes when or perplexity or name."),
    ],
)
def test_wrong_input_is_refused(tmp_path: Path, options: list[str], what: str, hint: str) -> None:
    make_run(tmp_path)
    (tmp_path / "empty").mkdir()
    status, out, err = tiny.command("runs", *options, cwd=tmp_path)
    assert (status, out) == (2, "")
    assert what in err
    assert hint in err


def test_without_a_run_the_first_fit_is_named(tmp_path: Path) -> None:
    (tmp_path / "lightning_logs").mkdir()
    assert list_runs(tmp_path) == ["no runs yet", "next: lightning-med fit --config configs/quickstart_small.yaml"]
    assert read_runs(tmp_path) == []
