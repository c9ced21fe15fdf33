"""compare_recipes: budgets of time and tokens, the notebook's labels, runs that are not repeated, and the tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.serving.responder import Responder
from tests import tiny

Script = Callable[[str], ModuleType]


def test_a_second_is_processor_time_by_thread_without_pauses(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    clock_class = script("recipes.clock").ProcessorClock
    readings = iter(
        [(0.0, 0.0), (4.0, 3.0), (4.0, 3.0), (10.0, 7.0), (10.0, 7.0), (11.0, 8.0), (50.0, 60.0), (52.0, 64.0)]
    )
    monkeypatch.setattr(clock_class, "_read", staticmethod(lambda: next(readings)))
    clock = clock_class(threads=2)
    clock.run()
    clock.count_step()
    clock.run()  # it runs already
    clock.count_step()
    clock.pause()
    clock.pause()
    clock.run()
    clock.pause()
    assert clock.seconds == pytest.approx((11.0 + 2.0) / 2)
    assert clock.wall == pytest.approx(8.0 + 4.0)
    assert clock.step_seconds == pytest.approx([2.0, 3.0])


def test_a_step_is_measured_after_the_warm_up(script: Script) -> None:
    module = script("recipes.clock")
    clock = module.ProcessorClock(1, step_seconds=[100.0] * module.WARM_UP + [2.0, 4.0])
    assert clock.measure_step() == pytest.approx(3.0)
    assert module.choose_steps(60.0, 3.0) == 20
    assert module.choose_steps(1.0, 3.0) == 3  # a step for each validation


@given(st.integers(3, 10_000))
def test_validations_divide_a_run(steps: int) -> None:
    module = _import("recipes.clock")
    rounded = module.round_steps(steps)
    assert steps - 2 <= rounded <= steps
    assert rounded % module.choose_validations(rounded) == 0


def _import(name: str) -> ModuleType:
    """For hypothesis, which calls a test many times with one fixture."""
    from importlib import import_module

    from tests.conftest import ROOT

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        return import_module(name)


def test_equal_tokens_end_before_they_would_exceed_the_notebooks(script: Script, tmp_path: Path) -> None:
    module, data = script("recipes.clock"), tiny.data_module(tmp_path)
    useful = module.count_useful(data.store("train"))
    seen = np.cumsum([useful[rows].sum() for epoch in range(6) for rows in data.plan_epoch(epoch)])
    for target in (int(seen[5]), int(seen[11]) + 1, int(seen[20]) - 1):
        steps = module.find_steps(data, target)
        whole = int((seen <= target).sum())
        assert whole - 2 <= steps <= whole
        assert seen[steps - 1] <= target


def test_tokens_are_counted_with_and_without_padding(script: Script, tmp_path: Path) -> None:
    store = tiny.data_module(tmp_path).store("train")
    seen, flat = script("recipes.clock").TokenCount(), script("recipes.clock").TokenCount()
    seen.add_batch(store, [0, 2], 100)
    seen.add_batch(store, [1], 100)
    flat.add_batch(store, [0, 1, 2])
    assert (seen.rows, seen.real, seen.computed) == (3, int(store.lengths[:3].sum()), 300)
    assert (flat.useful, flat.real, flat.computed) == (seen.useful, seen.real, seen.real)
    parts = np.concatenate([store.parts(row) for row in range(3)])
    assert seen.useful == int((parts != 0).sum()) < seen.real


def test_the_notebook_never_learns_the_end(script: Script, tmp_path: Path) -> None:
    module, data = script("recipes.notebook"), tiny.data_module(tmp_path)
    examples, tokenizer = module.make_examples(data.store("train")), module.make_tokenizer(data)
    end = tokenizer.eos_token_id
    assert all(row["input_ids"][-1] == end for row in examples)
    collator = module.RowCollator(tokenizer, 128)
    batch = collator([examples[3], examples[5]])
    assert collator.rows == [[3, 5]]
    assert batch["input_ids"].shape == (2, 128)
    for line, row in enumerate((3, 5)):
        ids = examples[row]["input_ids"]
        labels = batch["labels"][line].tolist()
        assert labels[: len(ids) - 1] == ids[:-1]  # the prompt and the question are learned too
        assert labels[len(ids) - 1 :] == [-100] * (129 - len(ids))  # the end is not
        assert batch["attention_mask"][line].tolist() == [1] * len(ids) + [0] * (128 - len(ids))


@pytest.fixture
def task(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tiny model to be trained, a moment by each recipe."""
    plans, source = script("recipes.plans"), tiny.table(tmp_path / "consultations.csv")
    data = tiny.data_settings(tmp_path, source=str(source), max_length=128)
    data = {name: data[name] for name in data if name not in ("source", "cache_dir")}
    model = {"base": None, "from_scratch": tiny.NETWORK, "lr": 3e-3}
    monkeypatch.setitem(plans.PLANS, "small", plans.Plan("tiny", 1.0, (42,), data, model, 4))
    monkeypatch.setattr(script("recipes.notebook"), "LENGTH", 128)
    return plans.Task(tmp_path / "runs", "small", 7, source, None, 0.1)


@pytest.mark.slow
def test_each_recipe_ends_in_an_export_that_answers(
    script: Script, task: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    plans, training, notebook = script("recipes.plans"), script("recipes.training"), script("recipes.notebook")
    started = notebook.load_start(task, task.open_data()).state_dict()
    runs, settings = {}, []
    for recipe in plans.RECIPES:
        training.train(task, recipe)
        runs[recipe] = training.read_run(task, recipe)
        responder = Responder.from_pretrained(task.get_export(recipe), safety=False)
        assert responder.decoding.repetition_penalty == 1.1
        settings.append(json.loads((task.get_export(recipe) / "lightning_med.json").read_text(encoding="utf-8")))
        weights = responder.network.state_dict()
        assert weights.keys() == started.keys()
        assert not torch.equal(weights["transformer.wpe.weight"], started["transformer.wpe.weight"])
    for name in ("prompt", "max_length", "decoding", "base", "data_fingerprint"):
        assert settings[0][name] == settings[1][name] == settings[2][name], name
    assert settings[0]["step"] == runs["notebook"]["exported_step"]
    assert runs["notebook"]["computed_tokens"] == 128 * runs["notebook"]["rows"] > runs["notebook"]["real_tokens"]
    assert runs["ours"]["computed_tokens"] == runs["ours"]["real_tokens"]
    limit = runs["notebook"]["useful_tokens"]
    assert 0 < runs["ours_tokens"]["useful_tokens"] <= max(limit, runs["ours_tokens"]["steps"] * 512)
    for run in runs.values():
        assert run["validations"][-1]["step"] == run["steps"]
        best = min(run["validations"], key=lambda one: one["perplexity"])
        assert run["exported_step"] == best["step"]
        assert run["val_perplexity"] == pytest.approx(best["perplexity"], rel=0.02)  # in float32, not in bfloat16
        assert run["processor_seconds"] == pytest.approx(run["seconds"] * run["threads"])
    assert (task.folder / runs["ours"]["run"] / "config.yaml").is_file()
    argv = ["train", "--data", str(task.source), "--output", str(task.output), "--seed", "7"]
    assert script("compare_recipes").main(argv) == 0
    assert capsys.readouterr().out.count("finished before") == 3


def test_both_recipes_start_from_the_same_weights(script: Script, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_med.training.module import DialogueLM

    starts: list[dict[str, torch.Tensor]] = []
    original = DialogueLM.configure_model

    def record(self: Any) -> None:
        original(self)
        starts.append(tiny.weights(self.network))

    monkeypatch.setattr(DialogueLM, "configure_model", record)
    clock = script("recipes.clock").ProcessorClock(1)
    script("recipes.ours").time_ours(task, clock, 1)
    assert clock.steps == 1
    theirs = tiny.weights(script("recipes.notebook").load_start(task, task.open_data()))
    assert tiny.is_equal(starts[0], theirs)


def _interval(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "rows": 9}


@pytest.fixture
def evaluated(script: Script, tmp_path: Path) -> Path:
    """Two seeds with their runs and an evaluation, as the commands leave them."""
    plans = script("recipes.plans")
    for seed in (42, 43):
        folder, more = tmp_path / "small" / f"seed-{seed}", seed - 42
        values = {"notebook": 2.0 + more, "ours": 1.0 + more, "ours_tokens": 1.5 + more}
        for recipe in plans.RECIPES:
            run = {"steps": 4000, "useful_tokens": 12345, "seconds": 99.6, "val_perplexity": 50.0 + seed}
            (folder / recipe).mkdir(parents=True)
            (folder / recipe / plans.RUN).write_text(json.dumps(run))
        entry = {"a": "ours", "b": "notebook", "metric": "bits_per_byte", "verdict": "a", "adjusted_p": 0.0004}
        content = {
            "models": {name: {"bits_per_byte": _interval(value)} for name, value in values.items()},
            "baselines": {"untuned": {"bits_per_byte": _interval(3.0)}},
            "differences": [
                {**entry, "value": -1.0, "low": -1.2, "high": -0.8},
                {**entry, "a": "notebook", "b": "ours_tokens", "value": 0.5, "low": 0.4, "high": 0.7},
            ],
        }
        (folder / "evaluation").mkdir()
        (folder / "evaluation" / "metrics.json").write_text(json.dumps(content))
    return tmp_path


def test_the_tables_show_each_run_and_the_mean_over_seeds(
    script: Script, evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("compare_recipes").main(["report", "--output", str(evaluated)]) == 0
    printed = capsys.readouterr().out
    assert "| small | 42 | notebook | 4,000 | 12,345 | 100 | 92.00 | 2.0000 (1.9000 to 2.1000) |  |  |" in printed
    assert "| small | 43 | untuned base |  |  |  |  | 3.0000 (2.9000 to 3.1000) |  |  |" in printed
    assert (
        "| small | 2 seeds | ours, equal time, mean (least to greatest) | 4,000 | 12,345 | 100 | 92.50 | 1.5000 (1.0000 to 2.0000) |"
        in printed
    )
    assert (
        "| small | 42 | ours, equal time - notebook | Bits per byte | -1.0000 (-1.2000 to -0.8000) | 0.0004 |"
        in printed
    )


def test_the_picture_is_drawn(script: Script, evaluated: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = evaluated / "recipes.png"
    assert script("compare_recipes").main(["report", "--output", str(evaluated), "--picture", str(picture)]) == 0
    assert picture.stat().st_size > 1000


def test_an_evaluation_compares_ours_with_the_others_on_its_own_run(
    script: Script, evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans, calls = script("recipes.plans"), []
    folder = evaluated / "small" / "seed-42"
    for seed in (42, 43):
        (evaluated / "small" / f"seed-{seed}" / "ours" / plans.RUN).write_text(json.dumps({"run": "fit/version_0"}))
    monkeypatch.setattr(script("recipes.evaluation"), "run_child", lambda argv: (calls.append(argv), (0, ""))[1])
    assert script("compare_recipes").main(["evaluate", "--output", str(evaluated), "--limit", "5"]) == 0
    argv, _ = calls  # what was measured before is not measured again by the command itself
    assert argv[2:7] == ["evaluate", "--model", f"{folder}/ours", "--compare", f"{folder}/ours_tokens"]
    assert argv[7:] == [
        *(f"{folder}/notebook", "--data", f"{folder}/fit/version_0"),
        *("--output", f"{folder}/evaluation", "--overwrite", "--limit", "5"),
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "is no verb"),
        (["train", "--data", "missing.csv", "--output", "x"], "missing.csv is no file"),
        (["train", "--data", __file__, "--output", "x", "--model", "smollm2"], "needs --base"),
        (["train", "--data", __file__, "--output", "x", "--seconds", "0"], "--seconds is 0"),
        (["evaluate", "--output", "x"], "has no finished runs"),
        (["report", "--output", "x"], "has no finished runs"),
    ],
)
def test_wrong_input_is_refused(
    script: Script, argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("compare_recipes").main(argv) == 2
    assert message in capsys.readouterr().err
