"""The command, end to end: what it leaves on disk, what it says, and how it exits."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_med.cli.command import VERBS, main
from lightning_med.version import __version__
from tests import tiny

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared run was made."""
    path = tmp_path_factory.getbasetemp() / "tiny"
    tiny.finished_run(path)
    return path


@pytest.fixture(scope="session")
def shared_run(folder: Path) -> Path:
    return tiny.finished_run(folder)


@pytest.fixture
def run(folder: Path, shared_run: Path, tmp_path: Path) -> Path:
    """A copy of the shared run, to write into."""
    return shutil.copytree(shared_run, tmp_path / "lightning_logs" / "tiny" / "version_0")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[dict[int, Any]]:
    """The handlers as they were; put back afterwards, whatever a test left."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def files(folder: Path) -> set[str]:
    """Paths of all files, numbers in their names as N."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    named = {re.sub(r"best-\d+-\d+\.\d+", "best-N", re.sub(r"step-\d+", "step-N", name)) for name in found}
    return {re.sub(r"tfevents.*", "tfevents", name) for name in named}


def refused(*argv: object, cwd: Path) -> str:
    """Runs what must exit with 2 and say why in at most two lines, and leave nothing behind; returns those lines."""
    before = files(cwd)
    status, out, err = tiny.command(*argv, cwd=cwd)
    assert status == 2, (out, err)
    lines = err.strip().splitlines()
    assert 1 <= len(lines) <= 2, err
    assert lines[0].startswith("lightning-med: ")
    assert not re.search("Traceback|usage:", out + err)
    assert files(cwd) == before
    return err


def small(folder: Path, place: Path, **trainer: Any) -> Path:
    """A config file in `place` over the table and the cache of `folder`."""
    content = tiny.settings(folder, **{"max_steps": 2, "callbacks": [], **trainer})
    content["samples"] = {"questions": 0}
    path = place / "small.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


# ------------------------------------------------------------------ fit

RUN_FILES = {".lock", "config.yaml", "checkpoints/last.ckpt", "checkpoints/best-N.ckpt", "checkpoints/step-N.ckpt"} | {
    "checkpoints/step-N.ckpt.sha256",
    "events.out.tfevents",
    "metrics.csv",
}


def test_a_fit_leaves_exactly_these_files(folder: Path, shared_run: Path) -> None:
    assert files(shared_run) - {"hparams.yaml"} == RUN_FILES
    assert [path.name for path in (folder / "lightning_logs").rglob("version_*")] == ["version_0"]
    assert {path.name for path in folder.iterdir()} <= {
        "lightning_logs",
        "tiny.yaml",
        "consultations.csv",
        "cache",
        "export",
    }


def test_the_saved_config_holds_every_setting_and_no_option_of_one_call(shared_run: Path) -> None:
    saved = yaml.safe_load((shared_run / "config.yaml").read_text())
    assert saved["model"]["lr"] == 3e-3
    assert saved["data"]["batch_tokens"] == 512
    assert saved["trainer"]["max_epochs"] == 2
    assert saved["name"] == "tiny"
    assert not {"config", "ckpt_path", "output"} & set(saved)


def test_a_fit_names_the_commands_that_come_next(folder: Path, tmp_path: Path) -> None:
    status, out, err = tiny.command("fit", "--config", small(folder, tmp_path), cwd=tmp_path)
    assert status == 0, err
    last = out.strip().splitlines()[-1]
    assert last.startswith("next: lightning-med export --checkpoint ")
    assert " && lightning-med respond --model " in last
    words = last.split()
    assert (tmp_path / words[words.index("--checkpoint") + 1]).is_file()


def test_a_second_fit_opens_a_second_version(folder: Path, tmp_path: Path) -> None:
    config = small(folder, tmp_path)
    for number in range(2):
        assert tiny.command("fit", "--config", config, cwd=tmp_path)[0] == 0
        assert (tmp_path / "lightning_logs" / "small" / f"version_{number}" / "checkpoints" / "last.ckpt").is_file()
    assert len(list((tmp_path / "lightning_logs" / "small").iterdir())) == 2


def test_root_and_name_say_where_a_run_lies(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "elsewhere"
    argv = ("fit", "--config", small(folder, tmp_path), "--name", "other", "--trainer.default_root_dir", root)
    assert tiny.command(*argv, cwd=tmp_path)[0] == 0
    assert (root / "lightning_logs" / "other" / "version_0" / "config.yaml").is_file()
    assert not (tmp_path / "lightning_logs").exists()


def test_a_saved_config_makes_the_same_run_again(folder: Path, tmp_path: Path) -> None:
    config = small(folder, tmp_path)
    assert tiny.command("fit", "--config", config, cwd=tmp_path)[0] == 0
    runs = tmp_path / "lightning_logs" / "small"
    status, _, err = tiny.command("fit", "--config", runs / "version_0" / "config.yaml", cwd=tmp_path)
    assert status == 0, err
    first, second = (
        torch.load(runs / f"version_{n}" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for n in (0, 1)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_last_goes_on_in_the_newest_run(folder: Path, tmp_path: Path) -> None:
    config = small(folder, tmp_path)
    assert tiny.command("fit", "--config", config, cwd=tmp_path)[0] == 0
    argv = ("fit", "--config", config, "--ckpt_path", "last", "--trainer.max_steps", 4)
    status, _, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    runs = tmp_path / "lightning_logs" / "small"
    assert [path.name for path in runs.iterdir()] == ["version_0"]
    content = torch.load(runs / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 4
    saved = yaml.safe_load((runs / "version_0" / "config.yaml").read_text())
    assert not {"ckpt_path", "resume"} & set(saved)  # else every later call of this config would go on too


@pytest.mark.parametrize("has_bf16", [True, False])
def test_16_mixed_without_a_gpu_becomes_what_the_processor_is_good_at(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_bf16: bool
) -> None:
    from lightning_med.utils import precision

    monkeypatch.setattr(precision, "has_cpu_bf16", lambda: has_bf16)
    expected = "bf16-mixed" if has_bf16 else "32-true"
    assert precision.choose_precision("16-mixed", "cpu") == expected
    assert precision.choose_precision("32-true", "cpu") == "32-true"
    assert precision.choose_precision("16-mixed", "cuda") == "16-mixed"
    status, out, err = tiny.command("fit", "--config", small(folder, tmp_path, precision="16-mixed"), cwd=tmp_path)
    assert status == 0, err
    assert expected in out + err


# ------------------------------------------------------------------ evaluation


def numbers(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("alone", [True, False], ids=["checkpoint alone", "with the run's config"])
def test_test_validate_and_predict_write_into_the_run(run: Path, tmp_path: Path, alone: bool) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    config = () if alone else ("--config", run / "config.yaml")
    before = files(tmp_path)
    for verb, name in (("test", "test.json"), ("validate", "validate.json"), ("predict", "predictions.jsonl")):
        status, out, err = tiny.command(verb, *config, "--ckpt_path", checkpoint, cwd=tmp_path)
        assert status == 0, err
        assert str(run / name) in out
        assert out.strip().splitlines()[-1].startswith("next: ")
    written = {f"lightning_logs/tiny/version_0/{name}" for name in ("test.json", "validate.json", "predictions.jsonl")}
    assert files(tmp_path) == before | written  # and no new version
    test, validation = numbers(run / "test.json"), numbers(run / "validate.json")
    assert test["test/perplexity"] < test["test/base_perplexity"]
    assert isinstance(test["test/tokens"], int)
    assert validation["val/perplexity"] > 1
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows
    assert {"row", "source", "question", "reference", "answer", "raw", "level", "category", "guard"} == set(rows[0])


def test_output_says_where_results_go(run: Path, tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    argv = ("test", "--ckpt_path", run / "checkpoints" / "last.ckpt", "--output", target)
    status, out, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    assert str(target) in out
    assert numbers(target)["test/tokens"] > 0
    assert not (run / "test.json").exists()


def test_settings_may_change_on_top_of_a_checkpoint(run: Path, tmp_path: Path) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    results = []
    for tokens in (256, 4096):
        target = tmp_path / f"{tokens}.json"
        argv = ("test", "--ckpt_path", checkpoint, "--data.batch_tokens", tokens, "--output", target)
        status, _, err = tiny.command(*argv, cwd=tmp_path)
        assert status == 0, err
        results.append(numbers(target)["test/perplexity"])
    assert results[0] == pytest.approx(results[1], rel=1e-6)


def test_the_best_checkpoint_gives_the_perplexity_in_its_name(run: Path, tmp_path: Path) -> None:
    (best,) = (run / "checkpoints").glob("best*.ckpt")
    status, _, err = tiny.command("validate", "--ckpt_path", best, cwd=tmp_path)
    assert status == 0, err
    assert numbers(run / "validate.json")["val/perplexity"] == pytest.approx(float(best.stem.split("-")[-1]), abs=0.006)


def test_export_and_respond_go_on_from_a_checkpoint_alone(run: Path, tmp_path: Path) -> None:
    for path in (run / "config.yaml", run / "hparams.yaml"):
        path.unlink(missing_ok=True)
    argv = ("export", "--checkpoint", run / "checkpoints" / "last.ckpt", "--output", run / "export")
    status, out, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    assert out.strip().splitlines()[-1].startswith("next: lightning-med respond --model ")
    status, out, err = tiny.command("respond", "My tongue is sore.", cwd=tmp_path)  # finds the newest export here
    assert status == 0, err
    assert out.strip()


def test_prepare_writes_the_data_report(folder: Path, tmp_path: Path) -> None:
    argv = ("prepare", "--config", small(folder, tmp_path), "--output", tmp_path / "report")
    status, out, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    report = numbers(tmp_path / "report" / "report.json")
    assert report["rows_in"] == report["rows_out"] == sum(report["splits"].values()) == 60
    assert out.strip().splitlines()[-1].startswith("next: lightning-med fit --config ")
    assert not (tmp_path / "lightning_logs").exists()


# ------------------------------------------------------------------ mistakes


def test_last_without_a_run_starts_one_and_has_nothing_to_test(folder: Path, tmp_path: Path) -> None:
    err = refused("test", "--config", small(folder, tmp_path), "--ckpt_path", "last", cwd=tmp_path)
    assert "last" in err
    assert tiny.command("fit", "--config", small(folder, tmp_path), "--ckpt_path", "last", cwd=tmp_path)[0] == 0


def test_a_finished_run_has_nothing_left_to_do(folder: Path, run: Path, tmp_path: Path) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    err = refused("fit", "--config", small(folder, tmp_path), "--ckpt_path", checkpoint, cwd=tmp_path)
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
def test_a_mistake_is_answered_in_two_lines(argv: list[str], tmp_path: Path) -> None:
    refused(*argv, cwd=tmp_path)


def test_a_mistyped_verb_is_guessed(tmp_path: Path) -> None:
    assert "Did you mean predict?" in refused("predcit", cwd=tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"source": "missing.csv"}, "missing.csv"),
        ({"question_column": "question"}, "question"),
        ({"max_length": 10, "batch_tokens": 512}, "max_length"),
        ({"tokenizer": "no/such-tokenizer"}, "no/such-tokenizer"),
    ],
)
def test_data_that_is_not_there_leaves_no_run(folder: Path, tmp_path: Path, change: dict[str, Any], named: str) -> None:
    options = [word for key, value in change.items() for word in (f"--data.{key}", value)]
    err = refused("fit", "--config", small(folder, tmp_path), *options, cwd=tmp_path)
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
def test_a_model_that_cannot_be_had_leaves_no_run(folder: Path, tmp_path: Path, options: list[str], named: str) -> None:
    err = refused("fit", "--config", small(folder, tmp_path), *options, cwd=tmp_path)
    assert named in err
    assert not (tmp_path / "lightning_logs").exists()


def test_a_run_is_not_made_where_nothing_can_be_written(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file, not a folder")
    argv = ("fit", "--config", small(folder, tmp_path), "--trainer.default_root_dir", tmp_path / "root")
    refused(*argv, cwd=tmp_path)


@pytest.mark.parametrize("verb", ["test", "fit", "export"])
@pytest.mark.parametrize("kind", ["text", "empty", "half", "foreign", "code"])
def test_what_is_not_a_checkpoint_is_refused(
    folder: Path, shared_run: Path, tmp_path: Path, verb: str, kind: str
) -> None:
    path = tmp_path / "last.ckpt"
    whole = (shared_run / "checkpoints" / "last.ckpt").read_bytes()
    content = {"text": b"not a checkpoint", "empty": b"", "half": whole[: len(whole) // 2]}
    if kind in content:
        path.write_bytes(content[kind])
    else:
        torch.save({"weights": torch.ones(2)} if kind == "foreign" else {"state_dict": Touch(tmp_path / "ran")}, path)
    if verb == "export":
        argv: tuple[object, ...] = ("export", "--checkpoint", path, "--output", tmp_path / "out")
    else:
        argv = (verb, "--config", small(folder, tmp_path), "--ckpt_path", path)
    err = refused(*argv, cwd=tmp_path)
    assert "last.ckpt" in err
    assert not (tmp_path / "ran").exists()


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


# ------------------------------------------------------------------ signals


def sent(name: str, step: int = 2) -> list[str]:
    """Options that have a signal sent in a step; a class of one's own is named on the command line."""
    given = {"": "tests.tiny.Send", ".name": name, ".step": str(step)}
    return [f"--trainer.callbacks{'' if key else '+'}{key}={value}" for key, value in given.items()]


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138)])
def test_a_signal_saves_and_says_so_in_the_exit_status(folder: Path, tmp_path: Path, name: str, code: int) -> None:
    config = small(folder, tmp_path, max_steps=6)
    status, out, err = tiny.command("fit", "--config", config, *sent(name), cwd=tmp_path)
    assert status == code, err
    assert "Traceback" not in out + err
    run = tmp_path / "lightning_logs" / "small" / "version_0"
    last = run / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 2
    assert {path.name for path in run.iterdir()} >= {"config.yaml", "metrics.csv"}
    status, _, err = tiny.command("fit", "--config", config, "--resume", "auto", cwd=tmp_path)
    assert status == 0, err
    assert torch.load(last, weights_only=True)["global_step"] == 6


def test_a_fit_that_was_stopped_gives_the_signals_back(folder: Path, tmp_path: Path, handlers: dict[int, Any]) -> None:
    assert tiny.command("fit", "--config", small(folder, tmp_path), *sent("SIGTERM"), cwd=tmp_path)[0] == 143
    assert {number: signal.getsignal(number) for number in HANDLED} == handlers


# ------------------------------------------------------------------ in a process of its own

NO_TORCH = """
import sys
from lightning_med.cli import main
status = main(sys.argv[1:])
heavy = {"torch", "lightning", "transformers", "pandas", "numpy", "datasets", "jsonargparse"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else status)
"""


def process(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *argv], cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("argv", "status"), [([], 0), (["--help"], 0), (["--version"], 0), (["fly"], 2)])
def test_help_version_and_unknown_verbs_import_nothing_heavy(argv: list[str], status: int, tmp_path: Path) -> None:
    result = process("-c", NO_TORCH, *argv, cwd=tmp_path)
    assert result.returncode == status, result.stderr


@pytest.mark.parametrize("verb", ["export", "respond"])
def test_the_options_of_a_small_verb_need_nothing_heavy(verb: str, tmp_path: Path) -> None:
    result = process("-m", "lightning_med", verb, "--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"usage: lightning-med {verb}" in result.stdout


def test_the_module_is_the_command(tmp_path: Path) -> None:
    result = process("-m", "lightning_med", "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert all(verb in result.stdout for verb in VERBS)
    assert "not a medical device" in result.stdout
    assert result.stderr == ""


def test_version_names_what_a_report_of_a_bug_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"lightning-med {__version__}"
    assert [line.split()[0] for line in lines[1:]] == ["torch", "lightning", "transformers"]


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    line = f"{sys.executable} -m lightning_med --help | head -n 0; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.stderr == ""


def test_help_of_fit_shows_our_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["fit", "--help"])
    assert raised.value.code == 0
    out = capsys.readouterr().out
    assert all(option in out for option in ("--data.source", "--model.lr", "--name", "--samples.questions"))
