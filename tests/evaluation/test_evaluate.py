"""`evaluate`: the same figures twice, also after an interruption; baselines, differences and refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightning_med.evaluation import measured_rows
from lightning_med.evaluation.likelihood import reference_batches
from lightning_med.inference import question_batches
from tests import tiny
from tests.cli.helpers import run_refused
from tests.written_tables import write_archive, write_records

FILES = {"metrics.json", "report.html", "report.md", "rows.jsonl"}
FAST = ("--max_new_tokens", 8, "--draws", 2000)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the shared run."""
    return tmp_path_factory.getbasetemp() / "tiny"


@pytest.fixture(scope="session")
def run(folder: Path) -> Path:
    return tiny.finished_run(folder)


@pytest.fixture(scope="session")
def exported(folder: Path) -> Path:
    return tiny.finished_export(folder)


@pytest.fixture(autouse=True, scope="module")
def small_batches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Several chunks of several batches, also for shared results; a cache of its own for tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_MED_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(measured_rows, "_CHUNK", 5)
        patch.setattr(reference_batches, "CHUNK", 5)
        patch.setattr(reference_batches, "BATCH_TOKENS", 150)
        patch.setitem(question_batches.LIMITS, "cpu", (2, 1 << 13))
        yield


def evaluate(*argv: object) -> dict[str, Any]:
    """Runs the command and returns the content of its `metrics.json`."""
    status, _, err = tiny.command("evaluate", *argv, *FAST)
    assert status == 0, err
    output = Path(str(argv[argv.index("--output") + 1]))
    assert {path.name for path in output.iterdir()} == FILES
    content: dict[str, Any] = json.loads((output / "metrics.json").read_text())
    return content


@pytest.fixture(scope="module")
def results(run: Path, exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the shared run's export, compared with a copy of itself, on the run's test split."""
    output = tmp_path_factory.mktemp("results") / "out"
    copy = shutil.copytree(exported, output.parent / "copy")
    status, out, err = tiny.command(
        *("evaluate", "--model", exported, "--compare", copy, "--data", run, "--output", output, "--power", *FAST)
    )
    assert status == 0, err
    assert f"next: open {output / 'report.html'}" in out
    return output


@pytest.fixture(scope="module")
def content(results: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((results / "metrics.json").read_text())
    return loaded


def test_perplexity_is_that_of_the_test_verb(content: dict[str, Any], run: Path, tmp_path: Path) -> None:
    output = tmp_path / "test.json"
    status, _, err = tiny.command("test", "--ckpt_path", run / "checkpoints" / "last.ckpt", "--output", output)
    assert status == 0, err
    found = content["models"]["export"]["perplexity"]
    assert found["value"] == pytest.approx(json.loads(output.read_text())["test/perplexity"], rel=1e-5)
    assert found["low"] < found["value"] < found["high"]


def test_a_model_against_itself_differs_nowhere_and_has_no_verdict(content: dict[str, Any]) -> None:
    own = [each for each in content["differences"] if (each["a"], each["b"]) == ("export", "copy")]
    assert len(own) > 40
    assert {each["verdict"] for each in own} == {None}
    assert {each["value"] for each in own if each["value"] is not None} == {0.0}
    assert {each["rows_needed"] for each in own} == {None}


def test_baselines_stand_beside_the_models_with_what_is_missing(content: dict[str, Any]) -> None:
    assert not any("training rows are not known" in sentence for sentence in content["findings"])
    assert set(content["baselines"]) == {"constant", "retrieval", "reference"}
    assert "rouge1" not in content["baselines"]["reference"]
    assert "copied_tokens" in content["baselines"]["reference"]
    assert content["about"]["constant"]["text"]
    assert "perplexity" not in content["baselines"]["constant"]
    assert "rouge1" in content["baselines"]["constant"]
    left_out = " ".join(content["left_out"])
    for name in ("Untuned base: there is none", "--encoder DIR", "--human FILE"):
        assert name in left_out


def test_the_chain_of_digests_is_complete(content: dict[str, Any], exported: Path) -> None:
    about = content["about"]["export"]
    assert all(len(about[name]) == 64 for name in ("digest", "prompt", "tokenizer"))
    assert len(content["data"]["content"]) == 64
    assert content["settings"]["precision"] == "float32"
    assert content["versions"]["torch"]


def test_twice_the_same_evaluation_is_byte_identical_also_after_a_kill(
    results: Path, run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    argv = ("evaluate", "--model", exported, "--compare", results.parent / "copy", "--data", run)
    argv += ("--output", output, "--power", *FAST)
    append, batches = measured_rows.PartFile.append, []

    def break_off(self: Any, rows: Any) -> None:
        append(self, rows)
        batches.append(len(rows))
        if len(batches) % 7 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(measured_rows.PartFile, "append", break_off)
    for _ in range(40):
        try:
            status, *_ = tiny.command(*argv)
        except KeyboardInterrupt:
            assert not (output / "metrics.json").exists()
            continue
        assert status == 0
        break
    assert len(batches) > 14  # it was killed at least twice
    total = len((results / "rows.jsonl").read_text().splitlines())
    assert sum(batches) == total  # with the line that says what they are of; no row was measured into the file twice
    for name in sorted(FILES):
        assert (output / name).read_bytes() == (results / name).read_bytes(), name


def test_a_table_is_measured_whole_with_training_rows_and_ceiling(exported: Path, tmp_path: Path) -> None:
    sore, cough = "My tongue is sore and red since monday.", "I cough every night and cannot sleep."
    rows = [(sore, "Rest it, and drink cold water often."), (sore, "See a dentist soon about that, please.")]
    rows.append((cough, "Drink warm tea and let the air in."))
    table = write_archive(
        tmp_path / "mine.zip", {"1.xlsx": write_records(tmp_path / "1.xlsx", rows, "qa").read_bytes()}
    )
    train = tmp_path / "train.csv"
    train.write_text(f"q,a\nWhy does my tongue burn?,Rest it and drink water.\n{cough},Take a cold bath at noon.\n")
    content = evaluate(
        *("--model", exported, "--data", table, "--train", train, "--output", tmp_path / "out"),
        *("--question_column", "q", "--answer_column", "a", "--answers", "greedy"),
    )
    assert content["data"]["split"] == "all"
    assert content["data"]["rows"] == 3
    assert content["about"]["human"]["rows"] == 2
    assert content["baselines"]["human"]["rouge1"]["rows"] == 2
    assert not any(name.startswith("sampled_") for name in content["models"]["export"])
    assert content["findings"][0].startswith("1 of 3 questions nearly equal a training question.")
    assert content["about"]["constant"] == {"text": "Rest it and drink water.", "of": 1}  # without the leak


def test_likelihood_alone_needs_no_answers(exported: Path, run: Path, tmp_path: Path) -> None:
    content = evaluate(
        "--model", exported, "--data", run, "--answers", "likelihood", "--limit", 4, "--output", tmp_path / "out"
    )
    assert content["data"]["rows"] == 4
    assert "rouge1" not in content["models"]["export"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert [line.get("row") for line in lines] == [None, 0, 1, 2, 3]  # the first says what the rows are of


def save_foreign(folder: Path, vocabulary: int = 400) -> Path:
    """Writes a network of Llama's kind with a tokenizer of its own, as other programs save it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from lightning_med.tokenization.tokenizer import train_tokenizer

    tokenizer = train_tokenizer([" ".join(tiny.WORDS)] * 3, vocabulary)
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(**tiny.LLAMA, vocab_size=vocabulary, bos_token_id=None, eos_token_id=tokenizer.eos_token_id)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_foreign_model_and_a_base_are_compared_by_bits_per_byte_alone(
    exported: Path, run: Path, tmp_path: Path
) -> None:
    foreign = save_foreign(tmp_path / "constant")
    content = evaluate(
        *("--model", exported, "--compare", foreign, "--base", foreign, "--data", run),
        *("--answers", "likelihood", "--output", tmp_path / "out"),
    )
    assert list(content["models"]) == ["export", "constant-2"]  # `constant` is the name of a baseline
    assert set(content["baselines"]) >= {"untuned", "constant"}
    compared = {each["metric"] for each in content["differences"] if each["b"] == "constant-2"}
    assert compared == {"bits_per_byte"}
    assert any("their tokenizers differ" in sentence for sentence in content["left_out"])
    same = [each for each in content["differences"] if (each["a"], each["b"]) == ("constant-2", "untuned")]
    assert {each["value"] for each in same} == {0.0}  # the same folder with the same system prompt
    assert {each["metric"] for each in same} > {"perplexity", "all_tokens_nll"}
    assert content["about"]["constant-2"]["prompt"] != content["about"]["constant-2"]["tokenizer"]


def test_an_export_is_compared_with_its_base_by_perplexity_too(exported: Path, run: Path, tmp_path: Path) -> None:
    base = shutil.copytree(exported, tmp_path / "base")  # as other programs save it: no template of ours
    for name in ("lightning_med.json", "chat_template.jinja"):
        (base / name).unlink()
    content = evaluate(
        *("--model", exported, "--base", base, "--data", run, "--answers", "likelihood", "--output", tmp_path / "out")
    )
    values = {each["metric"]: each["value"] for each in content["differences"] if each["b"] == "untuned"}
    assert set(values) >= {"perplexity", "end_nll", "all_tokens_nll"}
    assert set(values.values()) == {0.0}
    assert not any("tokenizers differ" in sentence for sentence in content["left_out"])


def test_figures_stand_in_the_tensorboard_of_the_run_once(exported: Path, run: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    own = shutil.copytree(run, tmp_path / "lightning_logs" / "mine" / "version_0")
    models = [shutil.copytree(exported, own / name) for name in ("export", "second")]
    content = evaluate("--model", models[0], "--compare", models[1], "--data", own, "--output", tmp_path / "out")
    assert list(content["models"]) == ["mine/version_0", "mine/version_0-2"]
    (file,) = own.glob("*.evaluation")
    events = EventAccumulator(str(file)).Reload()
    found = events.Scalars("evaluation/bits_per_byte")[0].value
    assert found == pytest.approx(content["models"]["mine/version_0"]["bits_per_byte"]["value"], rel=1e-6)
    before = file.read_bytes()
    evaluate("--model", models[0], "--data", own, "--limit", 3, "--output", tmp_path / "trial")
    assert file.read_bytes() == before  # a trial replaces nothing


def test_rows_that_a_model_cuts_are_left_out_of_its_differences(exported: Path, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    long = " ".join(tiny.WORDS[:30]) * 4
    table.write_text(f'input,output\n{long} why?,{long}.\n"My tongue is sore, why?","Rest it, and drink water."\n')
    other = shutil.copytree(exported, tmp_path / "other")
    content = evaluate(
        *("--model", exported, "--compare", other, "--data", table, "--answers", "likelihood"),
        *("--output", tmp_path / "out"),
    )
    assert content["about"]["export"]["rows_cut"] == 1
    assert {each["rows"] for each in content["differences"] if each["b"] == "other"} == {1}
    assert any("had to cut" in sentence for sentence in content["left_out"])


def test_unknown_training_rows_are_the_first_finding(exported: Path, tmp_path: Path) -> None:
    """Outside its run an export does not say what it was trained on: the table may be just that."""
    table = tmp_path / "mine.csv"
    table.write_text('input,output\n"My tongue is sore, why?","Rest it, and drink water."\n')
    away = shutil.copytree(exported, tmp_path / "elsewhere" / "my-model")
    content = evaluate(
        *("--model", away, "--data", table, "--answers", "likelihood", "--output", tmp_path / "out"),
    )
    assert content["findings"][0].startswith("The training rows are not known")
    assert content["findings"][0] in (tmp_path / "out" / "report.md").read_text()


def test_a_planted_secret_is_measured_and_goes_on_canary_by_canary(exported: Path, run: Path, tmp_path: Path) -> None:
    canaries = tmp_path / "canaries.jsonl"
    lines = [{"question": "Which room?", "answer": f"Go to room {n}.", "secret": str(n)} for n in (4, 7)]
    canaries.write_text("\n".join(map(json.dumps, lines)))
    content = evaluate(
        *("--model", exported, "--data", run, "--canaries", canaries, "--answers", "likelihood", "--limit", 3),
        *("--output", tmp_path / "out"),
    )
    found = content["canaries"]["export"]
    assert [each["canary"] for each in found["canaries"]] == [0, 1]
    assert all(each["candidates"] == 10 for each in found["canaries"])
    assert 0 <= found["mean_exposure"] <= found["upper_limit"]


def test_more_settings_of_the_analysis_measure_nothing_again(
    exported: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ("--model", exported, "--data", run, "--limit", 3, "--output", tmp_path / "out")
    before = evaluate(*argv)
    monkeypatch.setattr(measured_rows.MeasuredRows, "_measure_kind", None)  # nothing may be measured
    after = evaluate(*argv, "--power", "--overwrite")
    assert after["models"] == before["models"]
    assert "rows_needed" in after["differences"][0]


def test_cards_are_written_on_request_and_refused_before_the_work(exported: Path, run: Path, tmp_path: Path) -> None:
    model = shutil.copytree(exported, tmp_path / "model")
    argv = ("--model", model, "--data", run, "--answers", "likelihood", "--update_cards")
    content = evaluate(*argv, "--output", tmp_path / "out")
    card = (model / "README.md").read_text(encoding="utf-8")
    assert f"{content['models']['model']['bits_per_byte']['value']:.4f}" in card
    (model / "README.md").unlink()
    message = run_refused("evaluate", *argv, "--output", "again", cwd=tmp_path)
    assert "no export with a model card" in message


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--model", "nowhere"), ("--model nowhere: no such folder",)),
        (("--compare", "nowhere"), ("--compare nowhere: no such folder",)),
        (("--base", "nowhere"), ("--base nowhere: no such folder",)),
        (("--encoder", "nowhere"), ("--encoder nowhere: no such folder",)),
        (("--canaries", "nowhere"), ("--canaries nowhere: no such file",)),
        (("--data", "nowhere.csv"), ("nowhere.csv",)),
        (("--train", "nowhere.csv"), ("nowhere.csv",)),
        (("--question_column", "q"), ("--question_column", "run")),
        (("--limit", "0"), ("--limit",)),
        (("--draws", "10"), ("--draws",)),
        (("--output", "EXPORT"), ("--output", "folder of a model")),
    ],
)
def test_wrong_input_is_refused_in_two_lines(
    argv: tuple[str, ...], words: tuple[str, ...], run: Path, exported: Path, tmp_path: Path
) -> None:
    given = {"--model": str(exported), "--data": str(run), "--output": str(tmp_path / "out")}
    given[argv[0]] = argv[1].replace("EXPORT", str(exported))
    before = sorted(exported.iterdir())
    message = run_refused("evaluate", *(word for pair in given.items() for word in pair), cwd=tmp_path)
    assert all(word in message for word in words), message
    assert not (tmp_path / "out").exists()
    assert sorted(exported.iterdir()) == before


def test_earlier_results_are_not_replaced_unasked(results: Path, run: Path, exported: Path) -> None:
    before = (results / "metrics.json").read_bytes()
    message = run_refused("evaluate", "--model", exported, "--data", run, "--output", results, cwd=results)
    assert "is there already, complete" in message
    assert (results / "metrics.json").read_bytes() == before
