"""The commands of the terminal chat."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.serving.conversation import Conversation
from lightning_med.serving.terminal_chat import COMMANDS
from tests.serving.noted_screen import CHEST, DOSE, QUESTION, talk
from tests.serving.scripted_model import ANSWER, ScriptedWriter


def test_help_names_every_command_and_each_is_one() -> None:
    screen = talk(ScriptedWriter(), "/help", *(command.split()[0] for command in COMMANDS))
    assert all(command in screen.said[0] and text in screen.said[0] for command, text in COMMANDS.items())
    assert not [said for said in screen.said if "is no command" in said]


def test_quit_ends() -> None:
    assert talk(ScriptedWriter(), "/quit", QUESTION).answers == []


@pytest.mark.parametrize("line", ["/", "/Reset", "/helpme", "/etc/passwd is a file"])
def test_an_unknown_command_is_a_line(line: str) -> None:
    screen = talk(ScriptedWriter(), line, QUESTION)
    assert screen.said == [f"{line.split()[0]} is no command. /help shows them."]
    assert len(screen.answers) == 1


def test_reset_forgets_what_was_said() -> None:
    writer = ScriptedWriter()
    screen = talk(writer, CHEST, "/system Be kind.", "/reset", "/raw", "Should I drink tea?")
    assert writer.asked == [Conversation(("Should I drink tea?",), (), "Be kind.")]
    assert screen.said[1:] == ["The conversation is forgotten.", "There is no answer yet."]
    assert screen.answers[-1] == f"{ANSWER}\n\n{DISCLAIMER}"


def test_save_writes_json_lines_and_never_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "my talk.jsonl"
    screen = talk(ScriptedWriter("Tee trinken und die Stimme für ein paar Tage schonen 字."), QUESTION, f"/save {path}")
    assert screen.said == [f"2 messages: {path}"]
    assert "字" in path.read_text(encoding="utf-8")
    before = path.read_bytes()
    screen = talk(ScriptedWriter(), "/system Be kind.", QUESTION, f"/save {path}", f"/save {tmp_path / 'b'}")
    assert screen.said[1] == f"{path} exists. Name another file."
    assert path.read_bytes() == before
    rows = [json.loads(line) for line in (tmp_path / "b").read_text(encoding="utf-8").splitlines()]
    assert rows == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": ANSWER},
    ]


@pytest.mark.parametrize("name", ["", "no/such/folder/file", "a\0b", "x" * 300, "~nobodyofthisname/file"])
def test_save_says_in_a_line_what_is_wrong(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (said,) = talk(ScriptedWriter(), f"/save {name}").said
    assert "\n" not in said
    assert "needs the name of a file" in said or "cannot be written" in said
    assert not list(tmp_path.iterdir())


def test_a_system_text_is_added_shown_replaced_and_taken_away() -> None:
    writer = ScriptedWriter()
    said = talk(
        writer, "/system", "/system Be kind.", "/system", "a?", "/system Be\t short.", "b?", "/system -", "c?"
    ).said
    assert said == [
        f"Added to the system prompt: {text}" for text in ("nothing", "Be kind.", "Be kind.", "Be short.", "nothing")
    ]
    assert [conversation.system for conversation in writer.asked] == ["Be kind.", "Be short.", ""]


def test_a_system_text_that_is_too_long_is_refused_at_once() -> None:
    screen = talk(ScriptedWriter(), "/system " + "x" * 20_001, QUESTION)
    assert screen.said == ["The text has 20,001 characters; 20,000 are read. Shorten it."]
    assert len(screen.answers) == 1


def test_the_temperature_is_set_shown_and_checked() -> None:
    writer = ScriptedWriter()
    lines = ["/temperature", "/temperature 0.7", "a?", "/temperature hot", "/temperature -1", "/temperature nan"]
    said = talk(writer, *lines, "/temperature inf", "/temperature", "b?").said
    assert said == [
        "Temperature 0.",
        "Temperature 0.7.",
        "'hot' is no number. For instance: /temperature 0.7",
        "temperature is -1.0. It must be between 0 and 100.",
        "temperature is nan. It must be between 0 and 100.",
        "temperature is inf. It must be between 0 and 100.",
        "Temperature 0.7.",
    ]
    assert [decoding.temperature for decoding in writer.decodings] == [0.7, 0.7]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ANSWER, f"The guard changed nothing.\n{ANSWER}"),
        (
            DOSE,
            "The guard (dose 1): - the model wrote, + you were shown\n"
            "  A sore tongue heals within some days.\n"
            "- Take 500 mg of paracetamol now.\n"
            "  Drink warm tea and rest your voice.\n"
            "+ Please ask a doctor or a pharmacist which medicine is right for you, and how to take it.",
        ),
    ],
)
def test_raw_shows_both_texts_where_they_differ(answer: str, said: str) -> None:
    assert talk(ScriptedWriter(answer), QUESTION, "/raw").said == [said]


def test_raw_of_a_replaced_answer_shows_both() -> None:
    (said,) = talk(ScriptedWriter("Take it."), QUESTION, "/raw").said
    assert said.startswith("The guard (fallback 1): - the model wrote, + you were shown\n- Take it.\n+ Thank you")


def test_raw_without_a_model_and_without_safety() -> None:
    assert talk(ScriptedWriter(), CHEST, "/raw").said == ["The model was not asked: this is fixed advice."]
    said = talk(ScriptedWriter("Take it."), QUESTION, "/raw", safety=False).said
    assert said == ["Safety is off: nothing was changed.\nTake it."]
