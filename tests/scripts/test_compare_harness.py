"""The task for lm-evaluation-harness measures the answers that our likelihood measures, after the same prompt."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from lightning_med.tokenization.consultation import ANSWER
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompts import Prompt
from lightning_med.utils.errors import InputError
from scripts.lm_eval_task import utils
from tests import tiny
from tests.conftest import ROOT, consultation

TASK = ROOT / "scripts" / "lm_eval_task"
Row = dict[str, Any]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.finished_export(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture
def compare(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("compare_harness")


def make_row(question: str, reference: str) -> Row:
    return {"number": 0, "question": question, "reference": reference}


def write_rows(path: Path, rows: int = 6) -> Path:
    lines = [dict(zip(("question", "reference"), consultation(number), strict=True)) for number in range(rows)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


# ------------------------------------------------------------------ the files of the task


def test_the_yaml_names_what_is_there() -> None:
    class Loader(yaml.SafeLoader):
        """Reads names of functions as text."""

    Loader.add_constructor("!function", lambda loader, node: f"!{loader.construct_scalar(node)}")
    task = yaml.load((TASK / "reference_answers.yaml").read_text(encoding="utf-8"), Loader)
    assert task["task"] == utils.TASK
    assert task["target_delimiter"] == ""  # the answer brings its own white space
    for name in (task["custom_dataset"], task["process_results"]):
        assert callable(getattr(utils, name.removeprefix("!utils.")))
    row = {**make_row("a", "b"), "target": " b", "bytes": 1}
    assert {task["doc_to_text"], task["doc_to_target"]} <= row.keys()
    assert {metric["metric"] for metric in task["metric_list"]} == utils.score_row(row, [(-1.0, False)]).keys()


@pytest.fixture
def task_class(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The task's class on stand-ins for the two classes of the harness that it uses."""
    request, parent = SimpleNamespace, type("ConfigurableTask", (), {"__init__": lambda self, config: None})
    for name, content in (("instance", {"Instance": request}), ("task", {"ConfigurableTask": parent})):
        monkeypatch.setitem(sys.modules, f"lm_eval.api.{name}", SimpleNamespace(**content))
    spec = importlib.util.spec_from_file_location("task_of_the_harness", TASK / "task.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ReferenceAnswers({"class": "this", "task": "x"})


def test_white_space_at_the_end_of_a_prompt_is_a_request_of_its_own(task_class: Any) -> None:
    doc = {"target": "Rest."}
    plain = task_class.construct_requests(doc, "Doctor:", apply_chat_template=True, chat_template=None)
    assert [request.arguments for request in plain] == [("Doctor:", "Rest.")]
    chat = task_class.construct_requests(doc, "<|im_start|>assistant\n", apply_chat_template=True, chat_template=None)
    pairs = [("<|im_start|>assistant\n", "Rest."), ("<|im_start|>assistant", "\n")]
    assert [request.arguments for request in chat] == pairs
    assert [request.idx for request in chat] == [0, 1]


def test_another_prompt_than_that_of_the_training_is_refused(task_class: Any) -> None:
    with pytest.raises(ValueError, match="--apply_chat_template"):
        task_class.construct_requests({"target": "Rest."}, "What now?", apply_chat_template=False)


# ------------------------------------------------------------------ rows


def test_rows_are_lines_of_predictions_or_of_tables(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [
        {"question": " Why?\u2028So? ", "reference": "Rest.", "answer": "What the model wrote."},
        {"question": "Why?", "answer": "Rest."},
        {"question": "Why?", "reference": None, "answer": "What the model wrote."},
    ]
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    rows = utils.read_rows(file)
    assert [row["number"] for row in rows] == [0, 1, 2]
    assert [row["reference"] for row in rows] == ["Rest.", "Rest.", ""]
    assert rows[0]["question"] == "Why?\u2028So?"
    file.write_text("[1]\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 1"):
        utils.read_rows(file)


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(),
        Prompt(
            format="chat",
            before_system="<|im_start|>system\n",
            after_system="<|im_end|>\n<|im_start|>user\n",
            bare_opening="<|im_start|>user\n",
            question_lead="",
            answer_prefix="<|im_end|>\n<|im_start|>assistant\n",
            answer_lead="",
            end="<|im_end|>",
            question_prefix="\n<|im_start|>user\n",
        ),
    ],
    ids=["plain", "chat"],
)
@pytest.mark.parametrize("reference", ["Rest your ear.", "Rest.\nPatient: no!\n\nDoctor: yes.", "é 12 x", "- a\n- b"])
def test_the_template_gives_the_ids_of_the_training(
    prompt: Prompt, reference: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    own = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|endoftext|>")
    if prompt.format == "chat":
        own.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
        own.eos_token = "<|im_end|>"
    encoder = Encoder(own, prompt, 512)
    own.chat_template = prompt.make_chat_template()
    row = make_row("My ear hurts.\nDoctor: help", reference)
    text, target = utils.render_row(own, row)
    (encoded,) = encoder.encode([row["question"]], [row["reference"]])
    assert own(text + target, add_special_tokens=False)["input_ids"] == encoded.input_ids[:-1].tolist()
    answer = int((encoded.parts == ANSWER).sum()) - 1
    assert own(target, add_special_tokens=False)["input_ids"] == encoded.input_ids[-answer - 1 : -1].tolist()
    (kept,), _ = utils.select_rows(own, [row], 512)
    assert kept["bytes"] == encoded.answer_bytes


def test_rows_that_cannot_be_measured_are_counted(export: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(export)
    rows = [
        make_row("Why?", "Rest your ear."),
        make_row("Why?", ""),
        make_row("Why?<|endoftext|>", "Rest."),
        make_row("Why? " * 200, "Rest."),
    ]
    kept, left_out = utils.select_rows(tokenizer, rows, 160)
    assert [row["reference"] for row in kept] == ["Rest your ear."]
    assert sorted(left_out.values()) == [1, 1, 1]
    assert len(left_out) == 3


def test_a_row_that_fills_the_context_is_kept(export: Path) -> None:
    tokenizer, row = AutoTokenizer.from_pretrained(export), make_row("Why?", "Rest your ear.")
    tokens = len(tokenizer("".join(utils.render_row(tokenizer, row)), add_special_tokens=False)["input_ids"])
    assert utils.find_fault(tokenizer, row, tokens + 1) == ""  # with the end token
    assert utils.find_fault(tokenizer, row, tokens) == "longer than the context"


def test_the_prompts_white_space_is_taken_away() -> None:
    doc = {"bytes": 8}
    assert utils.score_row(doc, [(-7.5, False), (-0.5, True)]) == {"nats": 7.0, "bits_per_byte": (-7.0, 8)}


# ------------------------------------------------------------------ the comparison


def measure_plainly(export: Path, data: Path) -> dict[int, tuple[float, int]]:
    """What the harness computes, by transformers alone: the log-likelihood of `target` after the rendered prompt."""
    tokenizer: Any = AutoTokenizer.from_pretrained(export)
    network = AutoModelForCausalLM.from_pretrained(export, dtype=torch.float32).eval()
    scores = {}
    for row in utils.load_rows(str(export), str(data))["test"]:
        prompt = utils.render_row(tokenizer, row)[0]
        ids, before = (tokenizer(text, return_tensors="pt")["input_ids"] for text in (prompt + row["target"], prompt))
        with torch.inference_mode():
            each = network(ids).logits[0, :-1].double().log_softmax(-1).gather(1, ids[0, 1:, None])
        scores[row["number"]] = (-float(each[before.shape[1] - 1 :].sum()), row["bytes"])
    return scores


def test_our_likelihood_is_that_of_the_task(
    compare: ModuleType,
    export: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = write_rows(tmp_path / "rows.jsonl")
    scores = {number: compare.Score(*score) for number, score in measure_plainly(export, data).items()}
    monkeypatch.setattr(compare, "run_harness", lambda *_: scores)
    options = ["--model", str(export), "--data", str(data)]
    assert compare.main(options) == 0
    assert "6 of 6 rows compared; left out: 0 by lightning_med, 0 by the harness" in capsys.readouterr().out
    scores[3] = compare.Score(scores[3].nats + 0.01, scores[3].size)
    assert compare.main(options) == 1
    assert "line 4" in capsys.readouterr().out


def test_bits_per_byte_decide_too(compare: ModuleType) -> None:
    ours = {number: compare.Score(10.0, 4) for number in range(9)}
    theirs = {number: compare.Score(10.0009, 4) for number in range(9)}  # each row within its limit
    assert compare.report(ours, theirs, 9)[1] is False
    theirs = {number: compare.Score(10.0001, 4) for number in range(9)}
    text, agree = compare.report(ours, theirs, 12)
    assert agree
    assert f"{10 / math.log(2) / 4:.7f} by lightning_med" in text
    assert "9 of 12 rows compared" in text
    with pytest.raises(InputError):
        compare.report(ours, {}, 9)


def test_samples_of_the_harness_are_read(compare: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    sample = {"doc": {"number": 7, "bytes": 5, "question": "a\u2028b"}, "nats": 3.5}
    file.write_text(json.dumps(sample, ensure_ascii=False) + "\n", encoding="utf-8")
    assert compare.read_samples(file) == {7: compare.Score(3.5, 5)}


def test_a_missing_harness_is_said(
    compare: ModuleType, export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_rows(tmp_path / "rows.jsonl", 1)
    assert compare.main(["--model", str(export), "--data", str(data), "--lm_eval", str(tmp_path / "none")]) == 2
    assert "--lm_eval" in capsys.readouterr().err


@pytest.mark.slow
def test_the_harness_itself_agrees(compare: ModuleType, export: Path, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    data = write_rows(tmp_path / "rows.jsonl")
    assert compare.main(["--model", str(export), "--data", str(data)]) == 0
