"""covid_dialogue reads and splits the dialogues as the authors do, goes on after an interruption, and prints the table."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml

from lightning_med.data.module import DialogueDataModule
from lightning_med.training.module import DialogueLM
from tests import tiny
from tests.conftest import PARTS, ROOT

Script = Callable[[str], ModuleType]
TURNS = ("Does it  hurt\nat night?", "Rest your {part}, and see a doctor if it stays.")


def make_dialogue(number: int, exchanges: int = 1) -> str:
    part = PARTS[number % len(PARTS)]
    text = f"id={number}\nhttps://example.org/{number}\n\nDescription\nMy {part} hurts, case {number}.\n\nDialogue\n"
    for turn in range(exchanges):
        reply = TURNS[(turn + 1) % 2].format(part=part)
        text += (
            f"Patient:\nDoctor, my {part} hurts since day {number * 10 + turn}.\nDoctor:\n{reply} Case {number}.\n\n"
        )
    return text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """21 dialogues, of which one cannot be used: a doctor speaks twice in a row."""
    texts = [make_dialogue(number, exchanges=1 + number % 2) for number in range(20)]
    texts.insert(7, make_dialogue(99).replace("Doctor:\n", "Doctor:\nHello.\nDoctor:\n"))
    path = tmp_path / "dialogues.txt"
    path.write_text("".join(texts), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.finished_export(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture
def dialogues(script: Script) -> ModuleType:
    script("covid_dialogue")
    return sys.modules["covid.dialogues"]


# ------------------------------------------------------------------ dialogues


def test_dialogues_are_read_in_order(dialogues: ModuleType, file: Path) -> None:
    found = dialogues.parse_dialogues(file.read_text(encoding="utf-8"))
    assert [dialogue.description for dialogue in found][:2] == [
        "my head hurts, case 0.",
        "my left ear hurts, case 1.",
    ]
    assert len(found) == 20
    assert found[1].turns == (
        "doctor, my left ear hurts since day 10.",
        "rest your left ear, and see a doctor if it stays. case 1.",
        "doctor, my left ear hurts since day 11.",
        "does it hurt at night? case 1.",
    )


def test_the_split_is_that_of_the_authors(dialogues: ModuleType, file: Path) -> None:
    found = dialogues.parse_dialogues(file.read_text(encoding="utf-8"))
    splits = dialogues.split_dialogues(found)
    expected = list(found)
    state = random.getstate()
    random.seed(11111)
    random.shuffle(expected)
    random.setstate(state)
    assert [splits["train"], splits["validation"], splits["test"]] == [expected[:16], expected[16:18], expected[18:]]
    assert splits == dialogues.split_dialogues(found)  # again
    sizes = {name: len(part) for name, part in dialogues.split_dialogues(range(603)).items()}
    assert sizes == {"train": 482, "validation": 60, "test": 61}  # as the paper prints them


def test_each_reply_is_an_example_with_all_turns_before(dialogues: ModuleType) -> None:
    dialogue = dialogues.Dialogue("a cough", ("is it bad?", "no.", "sure?", "yes.", "thanks"))
    assert dialogues.make_examples([dialogue, dialogue])[1:3] == [
        {
            "dialogue": 0,
            "turn": 1,
            "question": "description: a cough ; patient: is it bad? ; doctor: no. ; patient: sure? ;",
            "answer": "yes.",
        },
        {"dialogue": 1, "turn": 0, "question": "description: a cough ; patient: is it bad? ;", "answer": "no."},
    ]


def test_the_files_are_splits_of_ones_own(dialogues: ModuleType, file: Path, tmp_path: Path) -> None:
    splits = dialogues.write_splits(file, tmp_path / "data")
    rows = {name: dialogues.read_examples(tmp_path / "data", name) for name in splits}
    members = [{row["dialogue"] for row in part} for part in rows.values()]
    assert sum(map(len, members)) == len(set.union(*members)) == 20  # no dialogue is in two splits
    columns = {"question_column": "question", "answer_column": "answer", "group_column": "dialogue"}
    settings = tiny.data_settings(tmp_path, source=str(tmp_path / "data"), near_duplicates=False, **columns)
    data = DialogueDataModule(**{**settings, "test_fraction": 0.1, "rules": {"too_short": False}})
    data.prepare_data()
    data.setup("test")
    kept = {name: [data.store(name).texts(row)["answer"] for row in range(len(part))] for name, part in rows.items()}
    assert {name: sorted(answers) for name, answers in kept.items()} == {
        name: sorted(row["answer"] for row in part) for name, part in rows.items()
    }


def test_another_file_is_refused(script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "other.txt"
    file.write_text("nothing of the kind", encoding="utf-8")
    module = script("covid_dialogue")
    for path in (file, tmp_path / "none.txt"):
        assert module.main(["--data", str(path), "--output", str(tmp_path / "out")]) == 2
        assert "COVID-Dialogue-Dataset-English.txt" in capsys.readouterr().err
    assert not (tmp_path / "out" / "data").exists()


# ------------------------------------------------------------------ fits and answers


def test_a_fit_that_is_exported_is_not_done_again(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, commands = script("covid_dialogue"), []

    def run(words: list[str]) -> tuple[int, str]:
        commands.append(words[2:])
        (tmp_path / "lightning_logs" / "tuned" / "version_0" / "checkpoints").mkdir(parents=True, exist_ok=True)
        if "export" in words:
            (tmp_path / "tuned").mkdir()
        return 0, ""

    monkeypatch.setattr(module, "run_child", run)
    for _ in range(2):
        module.fit("tuned", tmp_path, Path("bases/smollm2"), smoke=True)
    assert [words[0] for words in commands] == ["fit", "export"]
    for option, value in (("--resume", "auto"), ("--model.base", "bases/smollm2"), ("--trainer.max_steps", "3")):
        assert commands[0][commands[0].index(option) + 1] == value


@pytest.mark.parametrize("name", ["scratch", "tuned"])
def test_the_configs_are_taken(name: str, export: Path) -> None:
    path = ROOT / "scripts" / "covid" / f"{name}.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert settings.keys() == {"trainer", "data", "model", "samples"}
    DialogueDataModule(**{"source": "sample", "tokenizer": str(export), **settings["data"]})
    DialogueLM(**{"base": str(export), **settings["model"]})


def test_answers_go_on_after_an_interruption(
    script: Script, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script("covid_dialogue")
    module: Any = script("covid.beam_answers")
    asked: list[str] = []
    rows = [{"question": f"q {number}", "answer": f"a {number}"} for number in range(4)]

    def search(network: object, encoder: object, question: str) -> str:
        asked.append(question)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return f"answer to {question}"

    monkeypatch.setattr(module, "search_answer", search)
    output = tmp_path / "answers" / "scratch.jsonl"
    with pytest.raises(KeyboardInterrupt):
        module.write_beam_answers(export, rows, output, lambda *_: None)
    assert not output.exists()
    for _ in range(2):
        module.write_beam_answers(export, rows, output, lambda *_: None)
    assert asked == ["q 0", "q 1", "q 2", "q 2", "q 3"]
    written = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [row["answer"] for row in written] == [f"answer to q {number}" for number in range(4)]
    assert [row["reference"] for row in written] == [row["answer"] for row in rows]


def test_the_search_follows_the_protocol(script: Script, export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script("covid_dialogue")
    module: Any = script("covid.beam_answers")
    assert module.PROTOCOL == {
        "num_beams": 10,
        "length_penalty": 2.0,
        "min_new_tokens": 50,
        "max_new_tokens": 200,
        "no_repeat_ngram_size": 3,
    }
    model, found = module.open_model(export), []
    network = model.load_network()
    generate = network.generate

    def watch(ids: torch.Tensor, **options: Any) -> torch.Tensor:
        found.append((ids, options["generation_config"], generate(ids, **options)))
        return found[0][2]

    network.generation_config.repetition_penalty = 9.0  # the export's own settings have no part in it
    monkeypatch.setattr(network, "generate", watch)
    monkeypatch.setattr(module, "PROTOCOL", {**module.PROTOCOL, "min_new_tokens": 9, "max_new_tokens": 12})
    answer = module.search_answer(network, model.encoder, "my tongue is sore")
    ((ids, config, whole),) = found
    assert ids.tolist() == [model.encoder.encode_question("my tongue is sore", 99)]
    assert (config.num_beams, config.length_penalty, config.do_sample) == (10, 2.0, False)
    written = whole[0, ids.shape[1] :].tolist()
    assert 9 <= len(written) <= 12
    fresh = model.load_network()
    fresh.generation_config = type(config)()
    assert generate.__func__(fresh, ids, generation_config=config).tolist() == whole.tolist()
    assert answer == " ".join(model.encoder.tokenizer.decode(written, skip_special_tokens=True).split())


# ------------------------------------------------------------------ scores


def test_the_table_has_published_rows_and_ours_with_intervals(script: Script) -> None:
    script("covid_dialogue")
    module: Any = script("covid.scores")
    rows = [{"dialogue": number, "answer": f"rest your {part} and drink warm tea"} for number, part in enumerate(PARTS)]
    same = module.score_answers([row["answer"] for row in rows], rows)
    other = module.score_answers(["rest your arm and see a doctor today"] * len(rows), rows)
    table = module.format_table({"copies": same, "constant": other})
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {len(module.COLUMNS) + 2}
    published = next(line for line in lines if line.startswith("| Transformer"))
    assert published.split(" | ")[1:4] == ["263.1", "0.71", "7.3 (?)"]
    cells = next(line for line in lines if line.startswith("| copies")).split(" | ")
    assert cells[1].strip() == ""  # texts have no perplexity
    assert cells[3] == "100.0 (100.0 to 100.0)"
    assert other["bleu2"].low <= other["bleu2"].value <= other["bleu2"].high < 100


def test_intervals_are_over_dialogues(script: Script) -> None:
    script("covid_dialogue")
    module: Any = script("covid.scores")
    answers = ["rest and drink tea"] * 8
    replies = ["rest and drink tea"] * 4 + ["see a doctor today"] * 4
    one = module.score_answers(answers, [{"dialogue": 0, "answer": reply} for reply in replies])
    many = module.score_answers(answers, [{"dialogue": n, "answer": reply} for n, reply in enumerate(replies)])
    assert one["meteor"].value == many["meteor"].value
    assert one["meteor"].low != one["meteor"].low  # one dialogue has no interval: NaN
    assert many["meteor"].low < many["meteor"].value < many["meteor"].high


def test_baselines_answer_each_row(script: Script) -> None:
    module = script("covid_dialogue")
    training = [
        {"question": "my ear hurts", "answer": "rest your ear and drink tea"},
        {"question": "my knee hurts", "answer": "rest your knee and drink tea"},
        {"question": "i cannot sleep", "answer": "no screens at night"},
    ]
    rows = [{"question": "a knee that hurts"}, {"question": "sleep is hard"}]
    constant, nearest = module.make_baselines(training, rows).values()
    assert constant == ["rest your ear and drink tea"] * 2
    assert nearest == ["rest your knee and drink tea", "no screens at night"]


def test_near_duplicates_are_counted_by_dialogue(script: Script, dialogues: ModuleType, tmp_path: Path) -> None:
    module = script("covid_dialogue")
    question = "doctor i have had a dry cough and a mild fever for three days what should i do now"
    reply = "please rest at home drink plenty of warm fluids and see a doctor if the fever stays for a week"
    table = tmp_path / "table.csv"
    table.write_text(f"input,output\n{question.upper()}?,Something else entirely.\nWhat else?,{reply}.\n", "utf-8")
    splits = {
        "train": [
            dialogues.Dialogue("", (question, reply)),  # both: counted once
            dialogues.Dialogue("", ("an entirely different question about sleep and screens", "no screens at night")),
        ],
        "test": [dialogues.Dialogue("", ("is it bad that my knee clicks on stairs", reply))],
    }
    line = module.count_repeats(splits, table)
    assert line.endswith("one of table.csv: train 1 of 2, test 1 of 1.")


def test_options_are_checked(script: Script, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = script("covid_dialogue")
    options = ["--data", str(file), "--output", str(tmp_path / "out")]
    assert module.main([*options, "--step", "answers"]) == 2
    assert module.main([*options, "--step", "answer"]) == 2
    assert "--step fit" in capsys.readouterr().err
