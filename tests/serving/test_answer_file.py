"""`respond --input`: a line for each row of a file, in its order, gone on with after an interruption."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lightning_med import Responder
from lightning_med.inference import question_batches
from lightning_med.inference.part_file import get_part_path
from lightning_med.safety.messages.advice import REGION_VARIABLE
from lightning_med.serving import answer_file
from lightning_med.serving import responder as serving
from lightning_med.serving.question_file import QuestionFile
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.cli.helpers import run_refused
from tests.written_tables import write_archive, write_records, write_workbook

ALARMING = "my dad collapsed and is not breathing"
ROWS = 20  # of the file; with a blank one and an alarming one


def make_questions() -> list[str]:
    words = [" ".join(tiny.WORDS[row % 7 : row % 7 + 3 + row * 5 % 11]) for row in range(ROWS)]
    questions = [f"Case {row}: {text}?" for row, text in enumerate(words)]
    questions[4], questions[9] = "", ALARMING
    return questions


QUESTIONS = make_questions()


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "questions.csv")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks of several batches."""
    monkeypatch.delenv(REGION_VARIABLE, raising=False)
    for module in (serving, answer_file):
        monkeypatch.setattr(module, "CHUNK", 8)
    monkeypatch.setitem(question_batches.LIMITS, "cpu", (3, 1 << 13))


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The batches that a network answers."""
    batches: list[list[str]] = []
    generate = Responder._generate

    def record(self: Responder, questions: list[str]) -> list[str]:
        batches.append(questions)
        return generate(self, questions)

    monkeypatch.setattr(Responder, "_generate", record)
    return batches


def write_csv(path: Path, column: str = "input", delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([["id", column], *([row, text] for row, text in enumerate(QUESTIONS))])
    return path


def read_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in io.StringIO(text)]


def answer(exported: Path, questions: Path, output: Path, *options: object) -> str:
    """Answers a file of questions; returns what the command prints."""
    argv = ("respond", "--model", exported, "--input", questions, "--output", output, *options)
    status, out, err = tiny.command(*argv)
    assert status == 0, err
    return out


# ------------------------------------------------------------------ lines


def test_each_row_gets_a_line_in_the_order_of_the_file(exported: Path, questions: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "answers.jsonl"
    out = answer(exported, questions, output)
    assert out.splitlines()[-1] == f"answers: {output} ({ROWS} rows)"
    lines = read_lines(output.read_text(encoding="utf-8"))
    assert [line["row"] for line in lines] == list(range(ROWS))
    assert [line["question"] for line in lines] == QUESTIONS
    assert [line["level"] for line in lines if not line["raw"]] == ["blank", "emergency"]
    assert lines[4] == {
        "row": 4,
        "answer": "",
        "raw": "",
        "category": "",
        "guard": {},
        "advice": "",
        "question": "",
    } | {"level": "blank"}
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    _, alone, _ = tiny.command("respond", "--model", exported, "--json", QUESTIONS[0])
    assert list(json.loads(alone)) == list(lines[0])[1:]


def test_lines_hold_what_the_responder_answers(
    exported: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(exported, questions, tmp_path / "answers.jsonl", "--region", "GB")
    lines = read_lines((tmp_path / "answers.jsonl").read_text(encoding="utf-8"))
    responder = Responder.from_pretrained(exported, region="GB")
    alone = [responder.respond(question) for question in QUESTIONS if question]
    assert [line["answer"] for line in lines if line["question"]] == [one.answer for one in alone]
    assert "999" in lines[9]["answer"]


def test_standard_output_has_the_same_lines_as_they_come(
    exported: Path, questions: Path, tmp_path: Path, responder: Responder, generated: list[list[str]]
) -> None:
    answer(exported, questions, tmp_path / "answers.jsonl")
    expected = (tmp_path / "answers.jsonl").read_text(encoding="utf-8")
    for option in ((), ("--output", "-")):
        status, out, err = tiny.command("respond", "--model", exported, "--input", questions, *option)
        assert (status, err) == (0, f"1 of {ROWS} rows have no question\n")
        assert out == expected

    lines_at_flush: list[tuple[int, int]] = []

    class Target(io.StringIO):
        def flush(self) -> None:
            lines_at_flush.append((len(generated), self.getvalue().count("\n")))

    generated.clear()
    answer_file.stream_answers(responder, QuestionFile(questions), Target())
    assert all(count for batches, count in lines_at_flush if batches >= 3)  # long before the last of them
    assert lines_at_flush[-1] == (len(generated), ROWS)


def test_without_safety_each_line_says_so(exported: Path, questions: Path, tmp_path: Path) -> None:
    answer(exported, questions, tmp_path / "answers.jsonl", "--safety", "off")
    lines = read_lines((tmp_path / "answers.jsonl").read_text(encoding="utf-8"))
    assert {line["level"] for line in lines} == {"unchecked", "blank"}


def test_without_a_terminal_progress_is_a_line_now_and_then(
    exported: Path, questions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_file, "SECONDS", 0.0)
    status, out, err = tiny.command("respond", "--model", exported, "--input", questions)
    assert status == 0
    assert len(read_lines(out)) == ROWS
    assert re.fullmatch(rf"respond: {ROWS} of {ROWS} rows, [\d,]+ a minute", err.splitlines()[-2])


# ------------------------------------------------------------------ batches


def test_a_batch_has_a_bounded_number_of_questions_and_tokens(
    responder: Responder, generated: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [question for question in QUESTIONS if question] * 3
    answers = responder.respond_all(text for text in asked)
    assert [one.question for one in answers] == asked
    assert max(map(len, generated)) == 3
    generated.clear()
    monkeypatch.setitem(question_batches.LIMITS, "cpu", (3, 150))
    assert responder.respond_all(asked) == answers
    assert {len(batch) for batch in generated} > {1}
    lengths = [max(len(responder.encoder.encode_question(text, 99)) for text in batch) for batch in generated]
    sizes = [(length + 12) * len(batch) for length, batch in zip(lengths, generated, strict=True)]
    assert all(size <= 150 or len(batch) == 1 for size, batch in zip(sizes, generated, strict=True))


def test_an_empty_question_of_many_is_refused_before_the_work(responder: Responder, generated: list[list[str]]) -> None:
    with pytest.raises(InputError, match="empty"):
        responder.respond_all(iter([*QUESTIONS[:4], " "]))
    assert generated == []
    assert responder.respond_all([]) == []


# ------------------------------------------------------------------ interruptions


def kill_at(batch: int, argv: list[str]) -> int:
    """Runs the command in a process that dies, as by `kill -9`, when that batch is to be answered."""
    child = os.fork()
    if child == 0:
        count = 0
        generate = Responder._generate

        def die(self: Responder, questions: list[str]) -> list[str]:
            nonlocal count
            count += 1
            return os._exit(9) if count == batch else generate(self, questions)  # type: ignore[func-returns-value]

        Responder._generate = die  # type: ignore[method-assign]
        try:
            tiny.command(*argv)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("batches", [(1,), (2, 3), (4, 1, 2)], ids=str)
def test_an_answering_that_is_killed_is_gone_on_with(
    exported: Path, questions: Path, tmp_path: Path, batches: tuple[int, ...], generated: list[list[str]]
) -> None:
    whole, output = tmp_path / "whole.jsonl", tmp_path / "answers.jsonl"
    answer(exported, questions, whole)
    all_batches = list(generated)
    argv = ["respond", "--model", str(exported), "--input", str(questions), "--output", str(output)]
    for batch in batches:
        assert kill_at(batch, argv) == 9
        assert not output.exists()
    generated.clear()
    out = answer(exported, questions, output)
    done = sum(batches) - len(batches)
    assert generated == all_batches[done:]  # the same ones, and none again
    assert "are answered already" in out
    assert output.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl", "questions.csv", "whole.jsonl"]


def test_a_signal_says_where_the_answers_are(
    exported: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "answers.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(answer_file, "_make_line", interrupt_at(10))
        status, out, _ = tiny.command("respond", "--model", exported, "--input", questions, "--output", output)
    assert status == 143
    assert str(get_part_path(output)) in out
    assert "answers are" not in answer(exported, questions, output)
    assert len(read_lines(output.read_text(encoding="utf-8"))) == ROWS


def interrupt_at(count: int) -> Any:
    """Replaces `_make_line` by one that sends this process a signal."""
    numbers: Iterator[int] = iter(range(count))
    make_line = answer_file._make_line

    def make_or_stop(*args: Any) -> dict[str, Any]:
        if next(numbers, None) is None:
            os.kill(os.getpid(), 15)
        return make_line(*args)

    return make_or_stop


@pytest.fixture
def interrupted(exported: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output of a command that was interrupted."""
    output = tmp_path / "answers.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(answer_file, "_make_line", interrupt_at(10))
        assert tiny.command("respond", "--model", exported, "--input", questions, "--output", output)[0] == 143
    return output


@pytest.mark.parametrize("what", ["input", "column", "region", "safety", "model"])
def test_rows_of_another_model_input_or_setting_are_not_mixed(
    exported: Path, questions: Path, interrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    options: list[object] = []
    if what == "input":
        with questions.open("a") as file:
            file.write("20,One more?\n")
    elif what == "column":
        write_csv(questions, column="question")
        options = ["--question_column", "question"]
    elif what == "region":
        options = ["--region", "GB"]
    elif what == "safety":
        options = ["--safety", "off"]
    else:
        monkeypatch.setattr("lightning_med.inference.answer_identity.compute_weights_digest", lambda network: "f" * 64)
    argv = ("respond", "--model", exported, "--input", questions, "--output", interrupted, *options)
    err = run_refused(*argv, cwd=tmp_path)
    assert f"another {'input' if what == 'column' else what}" in err
    assert "--overwrite" in err
    answer(exported, questions, interrupted, *options, "--overwrite")
    assert len(read_lines(interrupted.read_text(encoding="utf-8"))) == ROWS + (what == "input")


def test_a_complete_file_is_replaced_only_when_asked(exported: Path, questions: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.jsonl"
    output.write_text("mine\n")
    argv = ("respond", "--model", exported, "--input", questions, "--output", output)
    assert "--overwrite" in run_refused(*argv, cwd=tmp_path)
    assert output.read_text() == "mine\n"
    answer(exported, questions, output, "--overwrite")
    assert len(read_lines(output.read_text(encoding="utf-8"))) == ROWS


# ------------------------------------------------------------------ files of questions


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    table = pd.DataFrame({"input": [text or None for text in QUESTIONS]})
    objects = [{"input": text or None} for text in QUESTIONS]
    write_csv(tmp_path / "q.csv")
    write_csv(tmp_path / "q.tsv", delimiter="\t")
    (tmp_path / "q.json").write_text(json.dumps(objects))
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, objects)))
    table.to_parquet(tmp_path / "q.parquet")
    (tmp_path / "q.txt").write_bytes("\r\n".join(QUESTIONS).encode("utf-8-sig"))
    for path in sorted(tmp_path.iterdir()):
        file = QuestionFile(path)
        assert file.count == ROWS, path
        assert list(file) == list(enumerate(QUESTIONS)), path


@pytest.mark.parametrize("name", ["q.csv.gz", "q.xlsx", "q.zip", "q.zip/x/q.jsonl"])
def test_packed_tables_and_workbooks_hold_questions(tmp_path: Path, name: str) -> None:
    rows = [(number, text or None) for number, text in enumerate(QUESTIONS)]
    path = tmp_path / name
    if ".zip" in name:
        table = write_records(tmp_path / "q.jsonl", rows, ("id", "input"))
        write_archive(tmp_path / "q.zip", {"x/q.jsonl": table.read_bytes(), "README.md": b""})
    else:
        write_records(path, rows, ("id", "input"))
    file = QuestionFile(path)
    assert list(file) == list(enumerate(QUESTIONS))
    assert set(file.identify()) == {"input", "question column"}


def test_tables_of_one_file_are_other_questions(tmp_path: Path) -> None:
    """An interrupted run over one is not gone on with over another."""
    book = write_workbook(tmp_path / "q.xlsx", {"A": [("input",), ("Why?",)], "B": [("input",), ("How?",)]})
    archive = write_archive(tmp_path / "q.zip", dict.fromkeys(("a/q.csv", "b/q.csv"), b"input\nWhy?\n"))
    places = [book / "A", book / "B", archive / "a/q.csv", archive / "b/q.csv"]
    assert len({QuestionFile(place).identify()["input"] for place in places}) == len(places)
    plain = write_records(tmp_path / "q.csv", [("Why?",)], ("input",))
    assert QuestionFile(plain).identify()["input"] == sha256(plain.read_bytes()).hexdigest()[:16]


def test_an_archive_of_several_tables_is_no_file_of_questions(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "q.zip", dict.fromkeys(("a.csv", "b.csv"), b"input\nWhy?\n"))
    with pytest.raises(InputError, match="holds 2 tables") as caught:
        QuestionFile(path)
    assert caught.value.hint == f"Name one: --input {path}/a.csv"
    assert QuestionFile(path / "b.csv").count == 1
    for other in (path / "c.csv", write_records(tmp_path / "q.csv", [("Why?",)], ("input",)) / "c.csv"):
        with pytest.raises(InputError, match=f"{other}"):
            QuestionFile(other)


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("q.csv", b"question\nWhy?\n", (), "--question_column"),
        ("q.csv", b"input,id\nWhy?\n", (), "row 0"),
        ("q.jsonl", b'{"input": "Why?"}\n[1]\n', (), "row 1"),
        ("q.json", b'[{"input": 7}]', (), "a cell holds a int"),
        ("q.json", b'[{"question": "Why?"}]', (), "--question_column"),
        ("q.jsonl", b'{"question": "Why?"}\n' * 1_001 + b'{"input": "Why?"}\n', (), "no column 'input'"),
        ("q.csv", b'input\n"[1, 2]"\n', (), "a list or an object"),
        ("q.csv", b"input,id\nWhy \xff?,1\n", (), "not UTF-8"),
        ("q.txt", b"Why?\nWhy \xff?\n", (), "not UTF-8"),
        ("q.txt", b"Why?\n", ("--question_column", "input"), "no columns"),
        ("q.txt", b"", (), "no question"),
        ("q.csv", b"input\n", (), "no question"),
        ("q.pdf", b"%PDF", (), ".txt, .csv"),
    ],
)
def test_a_file_that_cannot_be_read_whole_is_refused_before_the_work(
    exported: Path, tmp_path: Path, name: str, content: bytes, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    argv = ("respond", "--model", exported, "--input", tmp_path / name, "--output", tmp_path / "new" / "a.jsonl")
    err = run_refused(*argv, *options, cwd=tmp_path)
    assert message in err
    assert "--data." not in err
    assert "on_bad_row" not in err
    assert set(re.findall(r"--(\w+)", err)) <= {"input", "question_column"}  # options that `respond` has


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--input", "q.txt", "Why?"), "not both"),
        (("--output", "a.jsonl", "Why?"), "--output needs --input"),
        (("--overwrite", "Why?"), "--overwrite needs --input"),
        (("--question_column", "text", "Why?"), "--question_column needs --input"),
        (("--input", "q.txt", "--overwrite"), "--overwrite needs --output"),
        (("--input", "q.txt", "--output", "q.txt", "--overwrite"), "the file of the questions"),
        (("--input", "q.txt", "--output", "."), "is a folder"),
        (("--input", "missing.csv"), "no such file"),
        (("--json",), "respond needs QUESTION"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_options_that_do_not_go_together_are_refused(
    exported: Path, tmp_path: Path, argv: tuple[str, ...], message: str
) -> None:
    (tmp_path / "q.txt").write_text("Why?\n")
    assert message in run_refused("respond", "--model", exported, *argv, cwd=tmp_path)


def test_a_single_question_needs_no_reader_of_tables(exported: Path) -> None:
    """Starting the command stays fast."""
    code = "import sys; import lightning_med.cli.verbs.respond; print([n for n in ('pandas', 'torch') if n in sys.modules])"
    assert os.popen(f'{sys.executable} -c "{code}"').read().strip() == "[]"


def test_a_table_of_questions_is_read_as_training_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "questions.csv"
    path.write_text("input,output\nMy tongue is sore.,Rest.\nnan,Rest.\nNA,\n", encoding="utf-8")
    assert [question for _, question in QuestionFile(path)] == ["My tongue is sore.", "", ""]
    path.write_text("instruction,input\nWhat helps?,\n", encoding="utf-8")
    with pytest.raises(InputError, match="has a column 'instruction' beside 'input'"):
        QuestionFile(path)
    assert QuestionFile(path, "instruction").count == 1


def test_rows_without_a_question_are_counted(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    rows = [{"input": "Why?"}, {"question": "Why?"}, {"input": " "}, {"input": "nan"}, {"input": "NA"}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    questions = QuestionFile(path)
    assert (questions.count, questions.blank) == (5, 3)  # "NA" is a text where a format has null
    for options in ((), ("--output", tmp_path / "answers.jsonl")):
        status, _, err = tiny.command("respond", "--model", exported, "--input", path, *options)
        assert (status, err.splitlines()[-1]) == (0, "3 of 5 rows have no question")
