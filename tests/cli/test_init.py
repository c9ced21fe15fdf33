"""`lightning-med init` writes a config that the real parser takes, whatever is answered."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.cli import LightningArgumentParser
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from lightning_med.cli.first_config.base_choice import Base, guess_weights, read_base, suggest_base
from lightning_med.cli.first_config.config_text import describe_fit, format_config
from lightning_med.cli.first_config.data_choice import Data, find_columns, read_data
from lightning_med.cli.first_config.machine import CLUSTER, CPU, GPU, Machine, measure_machine
from lightning_med.cli.first_config.settings import make_sections
from lightning_med.cli.first_config.training_kind import choose_training, estimate_memory
from lightning_med.cli.trainer_command import make_settings_parser
from lightning_med.data.module import DialogueDataModule
from lightning_med.training.module import DialogueLM
from lightning_med.utils.errors import InputError
from tests import tiny

TALK = [{"role": "user", "content": "My ear hurts."}, {"role": "assistant", "content": "See a doctor this week."}]
TINY = ("--data.vocab_size", 300, "--data.max_length", 256, "--trainer.max_steps", 2, "--data.batch_tokens", 512)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    """An empty current folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr("lightning_med.utils.memory.free_memory.measure_host_memory", lambda: 8 << 30)
    return here


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """A function that runs `init` with lines on standard input, of a terminal or of a pipe."""

    def run(*lines: str, options: tuple[str, ...] = (), terminal: bool = False) -> tuple[int, str, str]:
        stdin = io.StringIO("".join(f"{line}\n" for line in lines))
        stdin.isatty = lambda: terminal  # type: ignore[method-assign]
        monkeypatch.setattr("sys.stdin", stdin)
        return tiny.command("init", *options)

    return run


def write_chats(path: Path, rows: int = 40) -> Path:
    lines = [
        json.dumps({"messages": [{**TALK[0], "content": f"Case {row}: my ear hurts."}, TALK[1]]}) for row in range(rows)
    ]
    path.write_text("\n".join(lines))
    return path


def make_base(target: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    settings = {**tiny.LLAMA, "vocab_size": len(tokenizer), "max_position_embeddings": 256}
    AutoModelForCausalLM.from_config(LlamaConfig(**settings)).save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


# ------------------------------------------------------------------ the config is sound


@pytest.fixture(scope="module")
def parser() -> LightningArgumentParser:
    """The real one, made once."""
    return make_settings_parser()


def parse(parser: LightningArgumentParser, path: Path) -> dict:
    """Parses a config as `fit` does, and makes the module and the data of its settings."""
    settings = parser.parse_args(["fit", "--config", str(path)]).fit
    DialogueDataModule(**settings.data.as_dict())
    DialogueLM(**settings.model.as_dict())
    return yaml.safe_load(path.read_text(encoding="utf-8"))


DATA = {
    "table": Data("notes 1.csv", frozenset({"asked", "said"}), {"question_column": "asked", "answer_column": "said"}),
    "chats": Data("chats.jsonl", frozenset({"messages"}), {"messages_column": "messages"}),
    "sample": Data("sample", None, {}),
    "kaggle": Data("kaggle:divyanshu2000/doctor-healthcare-100k", None, {"question_column": "input"}),
}
BASES = {
    "scratch": Base(None),
    "fetched": Base("bases/smollm2", 134.5e6, fetch="smollm2"),
    "gpt2": Base("distilgpt2", 82e6, 1024, is_gpt2=True),
    "large": Base("Qwen/Qwen2.5-7B", 7e9),
    "unknown": Base("some/model"),
}
MACHINES = {"gpu": Machine(GPU, 24, "a GPU"), "cpu": Machine(CPU, 8, "a CPU"), "small": Machine(CPU, 2, "a CPU")}
MACHINES["cluster"] = Machine(CLUSTER, 40, "GPUs")
ALL = list(itertools.product(BASES, MACHINES, DATA))
QUICK = [(base, machine, list(DATA)[n % 4]) for n, (base, machine) in enumerate(itertools.product(BASES, MACHINES))]
SLOW = [pytest.param(names, marks=pytest.mark.slow) for names in ALL if names not in QUICK]


@pytest.mark.parametrize("names", [*QUICK, *SLOW], ids="-".join)
def test_every_combination_is_taken_by_the_parser(
    names: tuple[str, str, str], here: Path, parser: LightningArgumentParser
) -> None:
    data, base, machine = DATA[names[2]], BASES[names[0]], MACHINES[names[1]]
    training = choose_training(data, base, machine)
    path = here / "first.yaml"
    purpose = describe_fit(data, base, machine, training)
    path.write_text(format_config(make_sections(data, base, machine, training), purpose, path, base.fetch), "utf-8")
    content = parse(parser, path)
    assert content["data"]["source"] == data.source
    assert {name: content["data"].get(name) for name in data.columns} == data.columns
    assert content["model"]["base"] == base.name
    assert content["data"]["tokenizer"] == (base.name or "train")
    assert content["trainer"]["accelerator"] == ("cpu" if machine.kind == CPU else "gpu")
    assert ("lora" in content["model"]) == training.lora


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_fit_on_a_cpu_takes_the_faster_precision(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, precision: str
) -> None:
    monkeypatch.setattr("lightning_med.utils.precision.has_cpu_bf16", lambda: has_bf16)
    data, base, machine = DATA["table"], BASES["scratch"], MACHINES["cpu"]
    sections = make_sections(data, base, machine, choose_training(data, base, machine))
    assert {setting.name: setting.value for setting in sections["trainer"]}["precision"] == precision


@given(st.text(st.characters(codec="utf-8"), min_size=1))
@settings(max_examples=30)
def test_any_name_survives_the_config(name: str) -> None:
    data, machine = Data(name, frozenset({name}), {"messages_column": name}), MACHINES["cpu"]
    training = choose_training(data, BASES["scratch"], machine)
    sections = make_sections(data, BASES["scratch"], machine, training)
    text = format_config(sections, describe_fit(data, BASES["scratch"], machine, training), Path(f"{name}.yaml"), "")
    content = yaml.safe_load(text)
    assert (content["data"]["source"], content["data"]["messages_column"]) == (name, name)
    assert list(content) == ["trainer", "data", "model", "checkpoint", "samples"]


def test_memory_decides_what_is_trained() -> None:
    table, base = DATA["table"], BASES["fetched"]
    chosen = {room: choose_training(table, base, Machine(CPU, room, "")) for room in (8, 4.5, 2.5, 1)}
    assert [(way.lora, way.checkpointing) for way in chosen.values()] == [
        (False, False),
        (True, False),
        (True, True),
        (True, True),
    ]
    assert [way.fits for way in chosen.values()] == [True, True, True, False]
    assert estimate_memory(134.5e6, False, False, True) == pytest.approx(4.9 * 1.1, rel=0.05)  # as docs/adapters.md
    assert estimate_memory(134.5e6, True, True, True) == pytest.approx(1.7 * 1.1, rel=0.05)


# ------------------------------------------------------------------ three configs train


def test_a_table_from_scratch_trains(answer: Callable, here: Path) -> None:
    tiny.table(here / "notes.csv")
    status, out, err = answer("", "scratch", "cpu")
    assert status == 0, err
    assert out.splitlines()[-1].endswith("prepare --config notes.yaml && lightning-med fit --config notes.yaml")
    assert len(err.splitlines()) == 3  # the questions
    lines = Path("notes.yaml").read_text().splitlines()
    assert lines[1] == "#   lightning-med fit --config notes.yaml"
    status, out, err = tiny.command("fit", "--config", "notes.yaml", "--json", *TINY)
    assert status == 0, err
    result = json.loads(out)  # nothing else is on standard output
    assert result["steps"] == 2
    assert Path(result["run"]) == Path("lightning_logs/notes/version_0")
    assert Path(result["last"]).is_file()
    assert Path(result["checkpoint"]).is_file()
    assert "next: lightning-med export" in err
    assert "needs a GPU" not in err


def test_chats_with_an_adapter_of_a_base_in_bases_train(
    answer: Callable, here: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    write_chats(here / "chats.jsonl")
    make_base(here / "bases" / "mine", tokenizer)
    status, _, err = answer("chats.jsonl", "mine", "cpu")
    assert status == 0, err
    content = yaml.safe_load(Path("chats.yaml").read_text())
    assert content["data"]["messages_column"] == "messages"
    assert content["data"]["max_length"] == 256  # the base reads no more
    assert content["model"]["base"] == content["data"]["tokenizer"] == "bases/mine"
    options = ("--trainer.max_steps", 2, "--model.lora", "{r: 2}", "--model.lr", "1e-3")
    assert tiny.command("fit", "--config", "chats.yaml", *options)[0] == 0


# ------------------------------------------------------------------ answers


def test_a_pipe_that_ends_takes_the_defaults(answer: Callable, here: Path) -> None:
    status, out, err = answer()
    assert status == 0, err
    content = yaml.safe_load(Path("sample.yaml").read_text())
    assert (content["data"]["source"], content["model"]["base"]) == ("sample", "bases/smollm2")
    assert "next: lightning-med fetch smollm2 && lightning-med prepare" in out


def test_options_are_not_asked(answer: Callable, here: Path) -> None:
    options = ("--data", "sample", "--base", "scratch", "--machine", "cluster", "--output", "a.yaml", "--json")
    status, out, err = answer("wrong", "wrong", options=options)
    assert (status, err.count("next:")) == (0, 1)
    steps = ["lightning-med prepare --config a.yaml", "lightning-med fit --config a.yaml"]
    assert json.loads(out) == {"config": "a.yaml", "data": "sample", "base": None, "machine": "cluster", "next": steps}


def test_a_file_is_replaced_only_on_demand(answer: Callable, here: Path) -> None:
    Path("sample.yaml").write_text("mine")
    options = ("--data", "sample", "--base", "scratch", "--machine", "cpu")
    status, _, err = answer(options=options)
    assert status == 2
    assert "--overwrite" in err
    assert Path("sample.yaml").read_text() == "mine"
    assert answer(options=(*options, "--overwrite"))[0] == 0
    assert Path("sample.yaml").read_text() != "mine"


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (["none.csv"], "none.csv: no such file"),
        (["kaggle:me"], "kaggle:me names no data set"),
        (["sample", "smolm2"], "Did you mean smollm2?"),
        (["sample", "none/of/these"], "there is no such base"),
        (["sample", "bases/other"], "there is no such base"),
        (["sample", "scratch", "abacus"], "abacus is no machine"),
        (["three.csv"], "which column holds the questions"),
        (["empty.csv"], "empty.csv"),
    ],
)
def test_a_wrong_answer_in_a_pipe_ends_with_two_lines(
    answer: Callable, here: Path, lines: list[str], named: str
) -> None:
    Path("three.csv").write_text("a,b,c\n1,2,3\n")
    Path("empty.csv").write_text("")
    before = sorted(here.iterdir())
    status, out, err = answer(*lines)
    assert (status, out) == (2, "")
    assert named in err
    assert len(err.splitlines()) == len(lines) + 2
    assert sorted(here.iterdir()) == before


def test_a_wrong_answer_on_a_terminal_is_asked_again_with_the_reason(answer: Callable, here: Path) -> None:
    Path("three.csv").write_text("who,said,told\n1,my ear hurts,see a doctor soon please\n")
    lines = ("none.csv", "three.csv", "asked", "said", "told", "smolm2", "scratch", "", "")
    status, _, err = answer(*lines, terminal=True)
    assert status == 0, err
    for reason in ("none.csv: no such file", "There is no column 'asked'", "Did you mean smollm2?"):
        assert reason in err
    data = yaml.safe_load(Path("three.yaml").read_text())["data"]
    assert (data["question_column"], data["answer_column"]) == ("said", "told")


def test_ctrl_d_on_a_terminal_writes_nothing(answer: Callable, here: Path) -> None:
    status, _, err = answer("sample", terminal=True)
    assert status == 2
    assert "Nothing is written" in err
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        ("--output", "a.txt"),
        ("--question_column", "a"),
        ("--messages_column", "a", "--question_column", "b", "--answer_column", "c"),
        ("--data", "three.csv", "--question_column", "a", "--answer_column", "z"),
        ("--data", "sample", "--question_column", "a", "--answer_column", "b"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(answer: Callable, here: Path, options: tuple[str, ...]) -> None:
    Path("three.csv").write_text("a,b,c\n1,2,3\n")
    status, out, err = answer(options=options)
    assert (status, out, len(err.splitlines())) == (2, "", 2)


# ------------------------------------------------------------------ what is found


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("instruction,input,output", ("input", "output")),
        ("Question,id,Answer", ("Question", "Answer")),
        ("Description,Patient,Doctor", ("Patient", "Doctor")),
        ("question,prompt,answer", None),
        ("a,b", None),
        ("messages,question,answer", ("question", "answer")),  # messages that are none
    ],
)
def test_columns_are_found_where_only_one_pair_can_be_meant(
    here: Path, header: str, found: tuple[str, str] | None
) -> None:
    file = here / "table.csv"
    file.write_text(f"{header}\n" + ",".join("words" for _ in header.split(",")) + "\n")
    columns = dict(zip(("question_column", "answer_column"), found, strict=True)) if found else {}
    assert find_columns(file, header.split(",")) == columns


def test_a_table_with_semicolons_is_refused_before_columns_are_asked_for(answer: Callable, here: Path) -> None:
    Path("notes.csv").write_text("id;question;reply\n1;My ear hurts.;See a doctor.\n")
    status, _, err = answer("notes.csv", "notes.csv", "sample", "scratch", "cpu", terminal=True)
    assert status == 0
    assert err.count("separated by ';'") == 2  # asked for the data again
    assert "column" not in err
    status, _, err = answer(options=("--data", "notes.csv"))
    assert status == 2
    assert "separated by ';'" in err


def test_conversations_beside_a_pair_are_ambiguous(here: Path) -> None:
    file = here / "both.jsonl"
    file.write_text(json.dumps({"conversations": TALK, "question": "Why?", "answer": "So."}))
    assert read_data("both.jsonl", {}).columns == {}
    file.write_text(json.dumps({"conversations": TALK, "source": "x"}))
    assert read_data("both.jsonl", {}).columns == {"messages_column": "conversations"}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("some/notes.csv.gz", "notes"),
        ("notes.zip/patients.csv", "patients"),
        ("of.2024", "of.2024"),
        ("here/*.csv", "here"),
        (".", "here"),
    ],
)
def test_the_config_is_named_by_the_data(here: Path, source: str, name: str) -> None:
    assert Data(source, frozenset({"input", "output"}), {}).name == name


def test_the_only_table_here_and_a_base_in_bases_are_the_defaults(here: Path) -> None:
    from lightning_med.cli.first_config.data_choice import suggest_data

    assert (suggest_data(), suggest_base(8)) == ("sample", "bases/smollm2")
    tiny.table(here / "notes.csv")
    (here / "bases" / "mine").mkdir(parents=True)
    (here / "bases" / "mine" / "config.json").write_text("{}")
    assert (suggest_data(), suggest_base(8), suggest_base(1)) == ("notes.csv", "bases/mine", "scratch")
    tiny.table(here / "other.csv")
    assert suggest_data() == "sample"


def test_a_folder_without_weights_and_a_gguf_file_are_no_bases(here: Path) -> None:
    (here / "empty").mkdir()
    (here / "model.gguf").write_bytes(b"GGUF")
    for answer, hint in (("empty", "config.json"), ("model.gguf", "lightning-med fetch model.gguf")):
        with pytest.raises(InputError) as raised:
            read_base(answer)
        assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 135e6),
        ("Qwen/Qwen2.5-0.5B", 0.5e9),
        ("me/model", None),
        ("T/TinyLlama-1.1B-step-50K-105b", 1.1e9),
    ],
)
def test_a_name_tells_the_number_of_weights(name: str, weights: float | None) -> None:
    assert guess_weights(name) == weights


def test_this_machine_comes_first() -> None:
    machines = measure_machine()
    assert set(machines) == {GPU, CPU, CLUSTER}
    first = next(iter(machines.values()))
    assert first.kind in (GPU, CPU)
    assert first.memory > 0
