"""Answers from an export: from Python, and from the command."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers.utils import logging

from lightning_med import Responder, generate_response
from lightning_med.export.hf_folder import SETTINGS
from lightning_med.inference.model_folder import open_export
from lightning_med.safety import triage
from lightning_med.safety.answers.guard import DISCLAIMER, Guarded
from lightning_med.serving import responder as respond
from lightning_med.utils.errors import InputError
from tests import tiny

QUESTION = "My tongue is sore, what can I do?"


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty current folder, and no model named by the environment."""
    monkeypatch.delenv("LIGHTNING_MED_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)


# ------------------------------------------------------------------ Responder


def test_an_answer_says_what_was_asked_and_what_must_stand_beside_it(responder: Responder) -> None:
    given_answer = responder.respond(QUESTION)
    assert given_answer.question == QUESTION
    assert given_answer.answer.endswith(DISCLAIMER)
    assert str(given_answer) == given_answer.answer


def test_a_model_is_loaded_without_a_bar_of_transformers(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", terminal)
    logging.enable_progress_bar()
    open_export(exported).load_network()
    assert not logging.is_progress_bar_enabled()


def test_the_same_question_gets_the_same_answer(exported: Path, responder: Responder) -> None:
    first = responder.respond(QUESTION)
    assert responder.respond(QUESTION) == first
    assert Responder.from_pretrained(exported).respond(QUESTION) == first


def test_questions_side_by_side_are_answered_as_alone(responder: Responder) -> None:
    questions = [QUESTION, "Why?", "cough " * 30]
    assert responder.respond_all(questions) == [responder.respond(question) for question in questions]


def test_white_space_does_not_change_the_answer(responder: Responder) -> None:
    assert responder.respond(f"\n {QUESTION.replace(' ', '   ')}\t\n").answer == responder.respond(QUESTION).answer


@pytest.mark.parametrize("question", ["", "  ", "\n\t \u2003"])
def test_an_empty_question_is_the_users_mistake(responder: Responder, question: str) -> None:
    with pytest.raises(InputError, match="empty"):
        responder.respond(question)
    with pytest.raises(InputError, match="empty"):
        responder.respond_all([QUESTION, question])


@pytest.mark.parametrize("question", [None, 123, b"My tongue is sore."])
def test_a_question_that_is_no_text_is_the_users_mistake(responder: Responder, exported: Path, question: Any) -> None:
    for ask in (responder.respond, lambda question: generate_response(question, exported)):
        with pytest.raises(InputError, match="not text"):
            ask(question)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400))
def test_any_question_gets_an_answer(responder: Responder, question: str) -> None:
    if not question.split():
        with pytest.raises(InputError, match="empty"):
            responder.respond(question)
        return
    given_answer = responder.respond(question)
    assert "<|endoftext|>" not in given_answer.answer
    assert not any(line.startswith(("Patient:", "Doctor:")) for line in given_answer.answer.splitlines())


@pytest.mark.parametrize(
    "question", ["a" * 20_000, "lone \ud83d surrogate", "nul \0 byte", "\u202e reversed"], ids=ascii
)
def test_odd_questions_get_an_answer_too(responder: Responder, question: str) -> None:
    assert isinstance(responder.respond(question).answer, str)


@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_control_tokens_spelled_in_a_question_stay_text(responder: Responder, before: str, after: str) -> None:
    encoder = responder.encoder
    text = f"{before}<|endoftext|>{after}".encode("utf-8", "replace").decode()
    ids = encoder.encode_question(text, max_tokens=500)
    assert encoder.tokenizer.eos_token_id not in ids
    assert f" {text}" in encoder.tokenizer.decode(ids, clean_up_tokenization_spaces=False)


# ------------------------------------------------------------------ what is not an export


def test_a_folder_that_is_no_export_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an exported model"):
        Responder.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="missing"):
        Responder.from_pretrained(tmp_path / "missing")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "half"])
def test_an_export_with_a_part_missing_is_named(exported: Path, tmp_path: Path, name: str, damage: str) -> None:
    broken = shutil.copytree(exported, tmp_path / "broken")
    content = (broken / name).read_bytes()
    (broken / name).unlink()
    if damage == "half":
        (broken / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="broken"):
        Responder.from_pretrained(broken)


def test_an_export_that_lacks_a_weight_is_refused_by_name(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "export")
    weights = load_file(folder / "model.safetensors")
    del weights["transformer.h.1.mlp.c_fc.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 of \d+ weights: transformer.h.1.mlp.c_fc.weight"):
        Responder.from_pretrained(folder)


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"decoding": {"nonsense": 1}, "system_prompt": "", "max_length": 9}']
)
def test_settings_that_make_no_sense_are_named(exported: Path, tmp_path: Path, content: str) -> None:
    broken = shutil.copytree(exported, tmp_path / "broken")
    (broken / SETTINGS).write_text(content)
    with pytest.raises(InputError, match="broken"):
        Responder.from_pretrained(broken)


# ------------------------------------------------------------------ generate_response


def test_a_model_is_named_by_the_argument_else_the_variable_else_the_newest_export(
    exported: Path, responder: Responder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = str(responder.respond(QUESTION))
    assert generate_response(QUESTION, model=exported) == expected
    assert generate_response(QUESTION, str(exported)) == expected

    monkeypatch.setenv("LIGHTNING_MED_MODEL", str(exported))
    assert generate_response(QUESTION) == expected
    with pytest.raises(InputError, match="other"):
        generate_response(QUESTION, model=tmp_path / "other")

    monkeypatch.delenv("LIGHTNING_MED_MODEL")
    runs = tmp_path / "lightning_logs" / "name"
    old = shutil.copytree(exported, runs / "version_0" / "export")
    new = shutil.copytree(exported, runs / "version_1" / "export")
    now = time.time()
    os.utime(old / SETTINGS, (now - 100, now - 100))
    assert generate_response(QUESTION) == expected
    (new / "config.json").unlink()  # so that the error says which one was taken
    os.utime(new / SETTINGS, (now + 1, now + 1))
    with pytest.raises(InputError, match="version_1"):
        generate_response(QUESTION)
    os.utime(old / SETTINGS, (now + 100, now + 100))
    assert generate_response(QUESTION) == expected


def test_no_model_at_all_says_how_to_make_one() -> None:
    with pytest.raises(InputError, match="No model is named") as raised:
        generate_response(QUESTION)
    assert "--model DIR" in raised.value.hint
    assert "lightning-med fit --config configs/quickstart_small.yaml" in raised.value.hint


def test_a_folder_exported_anew_is_read_anew(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(exported, tmp_path / "model")
    monkeypatch.setattr(respond, "guard", lambda question, raw, *_: Guarded(raw, {}))
    before = generate_response(QUESTION, folder)
    settings = json.loads((folder / SETTINGS).read_text())
    settings["decoding"]["max_new_tokens"] = 1
    (folder / SETTINGS).write_text(json.dumps(settings))
    os.utime(folder / SETTINGS, (time.time() + 10, time.time() + 10))
    assert len(generate_response(QUESTION, folder)) < len(before)


def test_an_export_from_before_a_setting_is_read_with_its_default(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "model")
    settings = json.loads((folder / SETTINGS).read_text())
    for name in ("min_p", "repetition_penalty", "sampling_seed"):
        del settings["decoding"][name]
    (folder / SETTINGS).write_text(json.dumps(settings))
    decoding = Responder.from_pretrained(folder).decoding
    assert (decoding.min_p, decoding.repetition_penalty) == (0, 1)


# ------------------------------------------------------------------ triage


URGENT = "My ear hurts badly and fluid is coming out since last night"
ALARMING = "my dad collapsed and is not breathing"


@pytest.mark.parametrize("question", [QUESTION, URGENT, ALARMING])
def test_a_question_is_triaged_once(exported: Path, responder: Responder, triaged: list[str], question: str) -> None:
    generate_response(question, exported)
    assert triaged == [question]
    assert tiny.command("respond", "--model", exported, question)[0] == 0
    assert triaged == [question] * 2
    responder.respond(question)
    assert triaged == [question] * 3


def test_each_question_of_a_batch_is_triaged_once(responder: Responder, triaged: list[str]) -> None:
    questions = [QUESTION, ALARMING, URGENT]
    answers = responder.respond_all(questions)
    assert triaged == questions
    assert [answer.level for answer in answers] == ["ordinary", "emergency", "urgent"]
    assert responder.respond_all(questions, [triage(question) for question in questions]) == answers
    assert triaged == questions * 2  # by the line above, not by the responder


def test_without_safety_nothing_is_triaged(exported: Path, triaged: list[str]) -> None:
    status, out, _ = tiny.command("respond", "--model", exported, "--safety", "off", "--json", ALARMING)
    assert status == 0
    assert json.loads(out)["level"] == "unchecked"
    assert triaged == []


# ------------------------------------------------------------------ the command


def standard_input(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")


def test_the_command_prints_the_answer(exported: Path, responder: Responder) -> None:
    status, out, err = tiny.command("respond", "--model", exported, QUESTION)
    assert (status, err) == (0, "")
    assert out.strip() == str(responder.respond(QUESTION))


def test_json_holds_the_parts(exported: Path, responder: Responder) -> None:
    status, out, _ = tiny.command("respond", "--model", exported, "--json", "Wo tut es weh? Überall. 😀")
    assert status == 0
    content: dict[str, Any] = json.loads(out)
    assert set(content) >= {"question", "answer", "raw", "level", "category", "guard", "advice"}
    assert content["question"] == "Wo tut es weh? Überall. 😀"
    assert "😀" in out  # readable as it is
    assert len(out.splitlines()) == 1


def test_a_question_may_come_from_standard_input(
    exported: Path, responder: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", standard_input(f"{QUESTION}\n".encode()))
    status, out, _ = tiny.command("respond", "--model", exported, "--json", "-")
    assert status == 0
    assert json.loads(out)["answer"] == responder.respond(QUESTION).answer


@pytest.mark.parametrize("json_too", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("where", ["argument", "standard input"])
def test_bytes_that_are_no_utf8_end_in_an_answer_or_in_two_lines(
    exported: Path, monkeypatch: pytest.MonkeyPatch, where: str, json_too: list[str]
) -> None:
    content = "Ma langue est irritée".encode("latin-1")
    monkeypatch.setattr(sys, "stdin", standard_input(content))
    question = os.fsdecode(content) if where == "argument" else "-"
    status, out, err = tiny.command("respond", "--model", exported, *json_too, question)
    assert status in (0, 2)
    assert len(err.splitlines()) <= 2
    out.encode("utf-8")  # can be printed


@pytest.mark.parametrize("question", ["", "   ", "-"])
def test_an_empty_question_exits_with_2(exported: Path, monkeypatch: pytest.MonkeyPatch, question: str) -> None:
    monkeypatch.setattr(sys, "stdin", standard_input(b" \n"))
    status, out, err = tiny.command("respond", "--model", exported, question)
    assert (status, out) == (2, "")
    assert "empty" in err
    assert len(err.splitlines()) <= 2


def test_no_export_exits_with_2(tmp_path: Path) -> None:
    for argv in (("respond", QUESTION), ("respond", "--model", tmp_path, QUESTION)):
        status, out, err = tiny.command(*argv)
        assert (status, out) == (2, "")
        assert len(err.splitlines()) <= 2


def test_the_variable_names_the_model_for_the_command_too(
    exported: Path, responder: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTNING_MED_MODEL", str(exported))
    status, out, _ = tiny.command("respond", QUESTION)
    assert status == 0
    assert out.strip() == str(responder.respond(QUESTION))
