"""The quickstart from the fit to the printed answers, with two steps of training."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lightning_med.cli.command import main
from lightning_med.data.sample import PATH as SAMPLE
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.utils import precision
from lightning_med.utils.errors import UnavailableError
from tests import tiny
from tests.conftest import ROOT

Script = Callable[[str], ModuleType]
SHORT = (
    *("--trainer.max_steps", "2", "--trainer.val_check_interval", "2"),
    *("--model.max_new_tokens", "24", "--data.source", "few.csv"),
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of the module's tests: the consultations are cleaned once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def quickstart(script: Script, tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script in a folder with the configs, its fit short and in this process."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    rows = SAMPLE.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "few.csv").write_text("".join(rows[:301]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIGHTNING_MED_CACHE", str(prepared))
    module = script("quickstart")
    monkeypatch.setattr(module, "run_child", lambda argv: (main([*argv[2:], *SHORT]), ""))
    return module


def make_base(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Makes a tiny Llama in the place of SmolLM2."""
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), **{**tiny.LLAMA, "max_position_embeddings": 1024})
    config.tie_word_embeddings = True
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("plan", [0, 1], ids=["adapter", "lean adapter"])
def test_a_base_is_tuned_and_its_answers_stand_beside_those_from_before(
    quickstart: ModuleType,
    plan: int,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(precision, "has_cpu_bf16", lambda: plan == 0)  # otherwise the fit computes in float32
    monkeypatch.setattr(quickstart, "choose_plans", lambda: (quickstart.PLANS[plan:], "3.9 GiB of memory are free"))
    monkeypatch.setattr(quickstart, "provide_base", lambda name, folder: make_base(folder, tokenizer))
    assert quickstart.run([]) == 0
    printed = capsys.readouterr().out
    before, after = (float(re.search(rf"perplexity {word}: ([\d.]+)", printed)[1]) for word in ("before", "after"))  # type: ignore[index]
    assert after < before
    assert ("3.9 GiB of memory are free, too little for SmolLM2" in printed) == (plan > 0)
    assert printed.count("\nquestion: ") == printed.count("\nuntuned base: ") == printed.count("\ntuned: ") == 3
    assert printed.count(DISCLAIMER) == 1
    assert re.search(r"[\d.]+ minutes in all; the largest process had [\d.]+ GiB", printed)
    assert printed.strip().splitlines()[-1].startswith("next: ")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_untuned_base_answers_with_its_own_weights(
    script: Script, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, dtype: torch.dtype
) -> None:
    make_base(tmp_path, tokenizer)
    before = LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    tuned = LlamaForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    with torch.no_grad():
        for weight in tuned.parameters():
            weight.add_(1.0)
    script("quickstart_parts.answers").restore_base(SimpleNamespace(network=tuned), tmp_path)
    assert tiny.is_equal(tiny.weights(tuned), tiny.weights(before))


@pytest.mark.slow
def test_without_the_base_a_small_model_is_trained_from_scratch(
    quickstart: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str, folder: Path) -> None:
        raise UnavailableError("pip cannot download it.", "A hint that nobody needs here.")

    monkeypatch.setattr(quickstart, "choose_plans", lambda: (quickstart.PLANS, "enough"))
    monkeypatch.setattr(quickstart, "provide_base", fail)
    assert quickstart.run([]) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if "pip cannot download it." in line]
    assert lines == ["SmolLM2 cannot be had: pip cannot download it. A small model from scratch is trained instead."]
    assert printed.count("\nanswer: ") == 3
    assert "untuned" not in printed
    assert quickstart.run(["--questions", "--sheet", "answers.jsonl"]) == 0
    assert Path("answers.jsonl").read_text(encoding="utf-8").count('"answer"') == 10
    Path("answers.jsonl").write_text("judged")
    assert quickstart.run(["--questions", "--sheet", "answers.jsonl"]) == 2
    assert "answers.jsonl exists" in capsys.readouterr().err
    assert Path("answers.jsonl").read_text(encoding="utf-8") == "judged"


@pytest.mark.parametrize(
    ("status", "code", "more"),
    [
        (-signal.SIGKILL, 137, True),
        (1, 1, True),  # a MemoryError under `ulimit -v`
        (3, 3, True),
        (2, 2, False),
        (128 + signal.SIGINT, 130, False),
        (-signal.SIGTERM, 143, False),
    ],
)
def test_a_fit_that_fails_is_tried_with_less_memory(
    quickstart: ModuleType, monkeypatch: pytest.MonkeyPatch, status: int, code: int, more: bool
) -> None:
    fits: list[list[str]] = []

    def run(argv: list[str]) -> tuple[int, str]:
        fits.append(argv)
        return status, ""

    monkeypatch.setattr(quickstart, "choose_plans", lambda: (quickstart.PLANS, "enough"))
    monkeypatch.setattr(quickstart, "provide_base", lambda name, folder: None)
    monkeypatch.setattr(quickstart, "run_child", run)
    assert quickstart.run([]) == code
    wanted = [[plan.config, *plan.options] for plan in quickstart.PLANS]
    assert [argv[argv.index("--config") + 1 :] for argv in fits] == (wanted if more else wanted[:1])


def test_a_perplexity_that_is_not_finite_is_unknown(script: Script) -> None:
    module = script("quickstart")
    assert [module._format_number(value) for value in (7.5, None)] == ["7.50", "unknown"]


def test_each_plan_needs_less_than_the_one_before(script: Script) -> None:
    plans = script("quickstart_parts.plans").PLANS
    for before, after in pairwise(plans):
        assert after.memory < before.memory
        assert after.address_space < before.address_space


@pytest.mark.parametrize(
    ("memory", "space", "count", "said"),
    [
        (64, float("inf"), 3, ""),
        (6.2, float("inf"), 2, "6.2 GiB of memory"),
        (5.9, float("inf"), 1, "5.9 GiB of memory"),
        (64, 9.2, 2, "9.2 GiB"),
        (64, 3, 1, "3.0 GiB"),
    ],
    ids=["enough", "less memory", "little memory", "ulimit", "low ulimit"],
)
def test_the_plan_is_chosen_by_free_memory(
    script: Script, monkeypatch: pytest.MonkeyPatch, memory: float, space: float, count: int, said: str
) -> None:
    plans = script("quickstart_parts.plans")
    needs = [(6.5, 9.5), (6.1, 9.1), (1.0, 3.5)]
    changed = tuple(
        plans.Plan(plan.title, plan.config, plan.options, *need) for plan, need in zip(plans.PLANS, needs, strict=True)
    )
    monkeypatch.setattr(plans, "PLANS", changed)
    monkeypatch.setattr(plans, "measure_host_memory", lambda: int(memory * 2**30))
    monkeypatch.setattr(plans, "measure_address_room", lambda: space * 2**30)
    chosen, free = plans.choose_plans()
    assert chosen == changed[-count:]
    assert said in free


# ------------------------------------------------------------------ children


def test_a_child_gives_its_status_and_its_errors(script: Script) -> None:
    processes = script("quickstart_parts.processes")
    code = "import sys; print('out'); print('why', file=sys.stderr); sys.exit(2)"
    assert processes.run_child(["-c", code], quiet=True) == (2, "why\n")
    assert processes.run_child(["-c", "import os; os.kill(os.getpid(), 9)"])[0] == -signal.SIGKILL
    assert 0.001 < processes.measure_peak_memory() < 64


def test_a_signal_ends_the_child_too(script: Script, tmp_path: Path) -> None:
    """The parent gets SIGTERM once the child has started, and is gone only after the child is."""
    mark = tmp_path / "ended"
    child = (
        "import signal, sys, time, pathlib\n"
        "def end(*_):\n"
        f"    pathlib.Path({str(mark)!r}).touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('started', flush=True); time.sleep(60)"
    )
    parent = f"from quickstart_parts.processes import run_child\nrun_child(['-c', {child!r}])"
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}", "PATH": ""}
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        process.terminate()
        process.wait(timeout=30)
    assert process.returncode
    assert mark.exists()


# ------------------------------------------------------------------ the sheet of questions


def test_the_shipped_questions_are_on_other_complaints_than_the_consultations(script: Script) -> None:
    sheet, module = script("quickstart_parts.question_sheet"), script("quickstart")
    questions = sheet.read_questions(module.QUESTION_FILE)
    assert len(set(questions)) == 10
    knowledge = yaml.safe_load(SAMPLE.with_name("complaints.yaml").read_text(encoding="utf-8"))
    topics = [re.sub("^(an?|the) ", "", entry["topic"]) for entry in knowledge["complaints"]]
    for question in (*questions, *module.QUESTIONS[1:]):
        assert [topic for topic in topics if topic.lower() in question.lower()] == []


def test_a_sheet_has_questions_and_answers_alone(script: Script, tmp_path: Path) -> None:
    sheet = script("quickstart_parts.question_sheet")
    sheet.write_sheet(tmp_path / "s.md", ["Why?", "How?"], ["So.", "Thus."])
    assert (tmp_path / "s.md").read_text() == (
        "## 1\n\n**Question:** Why?\n\n**Answer:** So.\n\n## 2\n\n**Question:** How?\n\n**Answer:** Thus.\n"
    )
    sheet.write_sheet(tmp_path / "s.jsonl", ["Why?"], ["So."])
    assert (tmp_path / "s.jsonl").read_text() == '{"question": "Why?", "answer": "So."}\n'


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--questions"], "no export of a quickstart"),
        (["--questions", "none.yaml"], "none.yaml cannot be read"),
        (["--questions", "bad.yaml"], "bad.yaml is no list of questions"),
        (["--sheet", "a.md"], "belong to --questions"),
        (["--question"], "is no option of quickstart"),
    ],
)
def test_wrong_input_is_refused_in_two_lines(
    quickstart: ModuleType, capsys: pytest.CaptureFixture[str], argv: list[str], named: str
) -> None:
    Path("bad.yaml").write_text("a: 1\n")
    assert quickstart.run(argv) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert named in lines[0]
    assert len(lines) == 2
