"""Decoding options of `respond`: for one question, and for a file, whose answers so far are of the same settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lightning_med import Responder
from lightning_med.cli.answering.model_options import _DECODING
from lightning_med.inference.decoding import Decoding
from tests import tiny

QUESTION = "My tongue is sore, what can I do?"


@pytest.fixture(scope="session")
def model(folder: Path) -> Path:
    """The folder of a tiny exported model."""
    return tiny.finished_export(folder)


def test_every_setting_is_an_option() -> None:
    assert set(_DECODING) == set(Decoding.__dataclass_fields__)


def respond(model: Path, *options: object) -> dict[str, str]:
    status, out, err = tiny.command("respond", "--model", model, "--json", *options, QUESTION)
    assert status == 0, err
    return json.loads(out)


def test_a_question_is_answered_with_the_settings_of_the_command(model: Path) -> None:
    short, long = (respond(model, "--max_new_tokens", count)["raw"] for count in (2, 60))
    assert len(short) < len(long)
    sampled = [respond(model, "--temperature", 1.5, "--sampling_seed", seed)["raw"] for seed in (1, 1, 2)]
    assert sampled[0] == sampled[1] != sampled[2]
    assert respond(model)["raw"] == Responder.from_pretrained(model).respond(QUESTION).raw


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("max_new_tokens", "0", "at least 1"),
        ("temperature", "-0.1", "between 0 and 100"),
        ("temperature", "nan", "between 0 and 100"),
        ("top_p", "1.1", "between 0 and 1"),
        ("min_p", "-1", "between 0 and 1"),
        ("repetition_penalty", "0.9", "between 1 and 2"),
        ("no_repeat_ngram_size", "-1", "at least 0"),
        ("sampling_seed", "-1", "at least 0"),
    ],
)
@pytest.mark.parametrize("is_file", [False, True])
def test_what_is_out_of_range_is_named_before_the_model_is_looked_for(
    option: str, value: str, hint: str, is_file: bool, tmp_path: Path
) -> None:
    what = ["--input", "no.csv"] if is_file else [QUESTION]
    status, out, err = tiny.command("respond", "--model", "nowhere", f"--{option}", value, *what, cwd=tmp_path)
    assert (status, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith(
        f"lightning-med: --{option} is {float(value):g}"[: len(f"lightning-med: --{option} is ") + 2]
    )
    assert hint in second


def test_a_value_of_another_type_is_named(tmp_path: Path) -> None:
    _, _, err = tiny.command("respond", "--max_new_tokens", "many", QUESTION, cwd=tmp_path)
    assert "--max_new_tokens: invalid int value: 'many'" in err


def test_a_file_is_answered_with_the_settings_of_the_command(model: Path, tmp_path: Path) -> None:
    questions, output = tmp_path / "questions.txt", tmp_path / "answers.jsonl"
    questions.write_text(f"{QUESTION}\n", encoding="utf-8")
    argv = ["respond", "--model", model, "--input", questions, "--output", output]
    assert tiny.command(*argv, "--max_new_tokens", 2)[0] == 0
    row = json.loads(output.read_text(encoding="utf-8"))
    assert row["raw"] == respond(model, "--max_new_tokens", 2)["raw"]


def test_answers_of_other_settings_are_not_mixed(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions, output = tmp_path / "questions.txt", tmp_path / "answers.jsonl"
    questions.write_text("".join(f"My tongue is sore since day {day}\n" for day in range(300)), encoding="utf-8")
    argv = ["respond", "--model", model, "--input", questions, "--output", output, "--max_new_tokens", 2]
    respond_chunk, chunks = Responder.respond_chunk, []

    def interrupted(self: Responder, *arguments: object, **options: object) -> object:
        chunks.append(1)
        if len(chunks) == 2:
            raise KeyboardInterrupt
        return respond_chunk(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Responder, "respond_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny.command(*argv)
    monkeypatch.undo()
    status, _, err = tiny.command(*argv, "--temperature", 0.5)
    assert status == 2
    assert "temperature" in err
    assert not output.exists()
    assert tiny.command(*argv)[0] == 0
    assert len(output.read_text(encoding="utf-8").splitlines()) == 300
