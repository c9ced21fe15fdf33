"""Wrong settings: what and where in one line, how to mend it in another, in words of this program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_med.cli.parsing.parser import SettingsParser
from lightning_med.utils.errors import InputError

# What a parser says to its programmer.
FOREIGN = re.compile(
    r"Union|subclass|Parser key|NoneType|[Tt]ypehint|typing\.|<class|class_path '|Namespace|Subtypes|validate against"
    r"|not accessible|Subcommand|NestedArg|Traceback|does not accept|import path|unicode string|namespace"
)
CALLBACKS = "lightning.pytorch.callbacks"


def refuse(parser: SettingsParser, verb: str, words: list[str]) -> InputError:
    """Returns the error that the words after a verb raise."""
    with pytest.raises(InputError) as caught:
        parser.parse_args([verb, *words])
    error = caught.value
    assert error.what
    assert error.hint
    assert not FOREIGN.search(str(error)), str(error)
    assert len(str(error)) < 700
    return error


def parse(parser: SettingsParser, words: list[str]) -> str:
    """Returns the message of a fit with any words, empty where the parser takes them or prints its help."""
    try:
        parser.parse_args(["fit", *words])
    except InputError as error:
        return str(error)
    except SystemExit as status:
        return "" if status.code == 0 else str(status)
    return ""


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        # Names
        (["--trainer.max_epoch", "3"], "--trainer.max_epoch is", "Did you mean --trainer.max_epochs?"),
        (["--trainer.max_epoch=3"], "--trainer.max_epoch is", "Did you mean --trainer.max_epochs?"),
        (["--trainer.max-epochs", "3"], "--trainer.max-epochs is", "Did you mean --trainer.max_epochs?"),
        (["--modle.lr", "1"], "--modle.lr is", "Did you mean --model.lr?"),
        (["--lr", "1"], "--lr is", "Did you mean --model.lr?"),
        (["--trainer.lr", "1"], "--trainer.lr is", "Did you mean --model.lr?"),
        (["--data.sources", "a"], "--data.sources is", "Did you mean --data.source?"),
        (["--samples.question", "2"], "--samples.question is", "Did you mean --samples.questions?"),
        (["--print_confg"], "--print_confg is", "Did you mean --print_config?"),
        (["--confg", "x.yaml"], "--confg is", "Did you mean --config?"),
        (["--resum", "auto"], "--resum is", "Did you mean --resume?"),
        (["--model", "{lrr: 1}"], "--model.lrr is", "Did you mean --model.lr?"),
        (["--trainer", "{max_epoch: 1}"], "--trainer.max_epoch is", "Did you mean --trainer.max_epochs?"),
        (["--output", "x"], "--output is no option of fit", "It is one of validate, test, predict, prepare."),
        (["--gravity", "9.81"], "--gravity is no option", "lightning-med fit --help lists all."),
        # Words and missing values
        (["stray"], "'stray' belongs to no option", "quote several words"),
        (["--data.source", "a", "b"], "'b' belongs to no option", "--data.source takes one value"),
        (["--model.lr"], "--model.lr needs a value", "a number"),
        (["--name"], "--name needs a value", "text"),
        (["--name", "--model.lr", "1"], "--name needs a value", "text"),
        (["--config"], "--config needs a value", "file"),
        (["-c"], "--config needs a value", "file"),
        # Values
        (["--model.lr", "abc"], "--model.lr cannot be abc", "It takes a number; the default is"),
        (["--model.lr", ""], "--model.lr cannot be", "a number"),
        (["--trainer.limit_train_batches", "foo"], "cannot be foo", "It takes a number or null."),
        (["--trainer.max_steps", "many"], "cannot be many", "a whole number"),
        (["--trainer.log_every_n_steps", "1.5"], "cannot be 1.5", "a whole number or null"),
        (["--data.batch_tokens", "many"], "cannot be many", "It takes a whole number or auto; the default is 8192."),
        (["--data.batch_tokens", "atuo"], "cannot be atuo", "Did you mean auto?"),
        (["--data.max_length", "12.5"], "cannot be 12.5", "a whole number"),
        (["--model.lora", "16"], "--model.lora cannot be 16", "'{r: 16, alpha: 32}'"),
        (["--model.from_scratch", "gpt2"], "cannot be gpt2", "n_layer"),
        (["--model.compile", "perhaps"], "cannot be perhaps", "true or false; the default is false"),
        (["--resume_anyway", "maybe"], "cannot be maybe", "true or false"),
        (["--checkpoint_every", "x"], "cannot be x", "a whole number or null"),
        (["--checkpoint.keep", "x"], "cannot be x", "a whole number"),
        (["--seed_everything", "x"], "cannot be x", "true, false or a whole number"),
        (["--lr_scheduler_interval", "epochs"], "cannot be epochs", "Did you mean epoch? It takes epoch or step"),
        (["--trainer.precision", "16-mixd"], "cannot be 16-mixd", "Did you mean 16-mixed?"),
        (["--data.on_bad_row", "dorp"], "cannot be dorp", "Did you mean drop?"),
        (["--data.prompt_format", "chta"], "cannot be chta", "Did you mean chat?"),
        (["--data.rules", "fast"], "--data.rules cannot be fast", "a mapping"),
        (["--model.freeze", "{a: 1}"], "--model.freeze cannot be {a: 1}", "a list"),
        # Null where there is no such choice
        (["--data.source", "null"], "--data.source cannot be null", "FILE.csv"),
        (["--data.system_prompt", "null"], "--data.system_prompt cannot be null", "text"),
        (["--model.lr", "null"], "--model.lr cannot be null", "a number"),
        (["--trainer.max_steps", "null"], "--trainer.max_steps cannot be null", "a whole number"),
        # Classes
        (["--trainer.callbacks", "Foo"], "there is no class Foo", "There are those of lightning.pytorch.callbacks"),
        (["--trainer.callbacks+=EarlyStoping"], "there is no class EarlyStoping", "Did you mean EarlyStopping?"),
        (["--trainer.callbacks+=my_package.Mine"], "there is no class my_package.Mine", "No module named 'my_package'"),
        (["--trainer.callbacks+=torch.nn.Linear"], "torch.nn.Linear is not of the kind Callback", "There are"),
        (["--trainer.callbacks+=EarlyStopping"], "EarlyStopping needs monitor", "--trainer.callbacks.monitor VALUE"),
        (
            ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitr", "x"],
            "--trainer.callbacks.monitr is no argument of EarlyStopping",
            "Did you mean --trainer.callbacks.monitor?",
        ),
        (
            ["--trainer.callbacks", "[{class_path: EarlyStopping, init_args: {monitor: x, patience: soon}}]"],
            "--trainer.callbacks.patience cannot be soon",
            "a whole number",
        ),
        (["--trainer.callbacks.monitor", "x"], "--trainer.callbacks.monitor is given to no class", "CLASS"),
        (["--optimizer", "SGDD"], "there is no class SGDD", "Did you mean SGD?"),
        (["--optimizer", "torch.optim.SDG"], "there is no class torch.optim.SDG", "Did you mean torch.optim.SGD?"),
        (["--optimizer", "os.system"], "os.system is not of the kind Optimizer", "There are those of torch.optim"),
        (["--optimizer", "SGD", "--optimizer.lrr", "1"], "--optimizer.lrr is no argument", "--optimizer.lr?"),
        (["--optimizer", "SGD", "--optimizer.lr", "x"], "--optimizer.lr cannot be x", "a number"),
        (["--optimizer.lr", "0.1"], "--optimizer.lr is given to no class", "--optimizer CLASS"),
        (["--lr_scheduler", "StepLRR"], "there is no class StepLRR", "Did you mean StepLR?"),
        (["--lr_scheduler", "StepLR"], "StepLR needs step_size", "--lr_scheduler.step_size VALUE"),
        (["--trainer.logger", "wandbb"], "there is no class wandbb", "package.module.Class"),
        (["--trainer.logger", "CSVLoger"], "there is no class CSVLoger", "Did you mean CSVLogger?"),
        (["--trainer.logger", "3"], "--trainer.logger cannot be 3", "true, false or null"),
        (["--trainer.plugins", "Foo"], "there is no class Foo", "package.module.Class"),
        # Others
        (["--print_config=everything"], "everything", "--help"),
        (["--config", "https://example.org/x.yaml"], "takes a file, not an address", "Download"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_a_wrong_option_is_named_with_what_is_meant(
    parser: SettingsParser, words: list[str], what: str, hint: str
) -> None:
    error = refuse(parser, "fit", words)
    assert what in error.what
    assert hint in error.hint


@pytest.mark.parametrize(
    ("content", "what", "hint"),
    [
        ("trainer: {max_epoch: 3}", "some.yaml: trainer.max_epoch is", "Did you mean trainer.max_epochs?"),
        ("modle: {lr: 1}", "some.yaml: modle is", "Did you mean model?"),
        ("data: {sorce: x}", "some.yaml: data.sorce is", "Did you mean data.source?"),
        ("model.lrr: 1", "some.yaml: model.lrr is", "Did you mean model.lr?"),
        ("fit: {model: {lr: 1}}", "some.yaml: fit is", "stand at the top"),
        ("output: x", "some.yaml: output is", "It is one of validate, test, predict, prepare."),
        ("3: 4", "some.yaml: 3 is", "--help"),
        ("a b: 4", "some.yaml: a b is", "--help"),
        ("data: 3", "some.yaml: data is 3, not a mapping", "data: {source: …}"),
        ("model:\n", "some.yaml: model is empty", "leave it out"),
        ("trainer: [1]", "some.yaml: trainer is [1], not a mapping", "trainer: {"),
        ("trainer: missing.yaml", "missing.yaml: there is no such file", "Looked for"),
        ("trainer: https://example.org/x.yaml", "not an address", "Download"),
        ("data: {a: [1\nb: 2\n", "some.yaml, line 2 is not valid YAML", "brackets"),
        ("model:\n\tlr: 1\n", "some.yaml, line 2 is indented with a tab", "spaces"),
        ("model:\n  lr: 1\n\tmin_p: 1\n", "some.yaml, line 3 is indented with a tab", "spaces"),
        ("a: &x [*x", "some.yaml", "brackets"),
        ("model: !!python/object:os.system {}", "some.yaml, line 1 is not valid YAML", "tag"),
        ("- a\n- b\n", "some.yaml is a list", "sections"),
        ("just text", "some.yaml is one value", "sections"),
        ("", "some.yaml is empty", "sections"),
        ("# only a comment\n", "some.yaml is empty", "sections"),
        ("model: {lr: 1}\nmodel: {lr: 2}\n", "some.yaml: model stands there twice, again in line 2", "Keep one."),
        ("model: {lr: 1, lr: 2}\n", "some.yaml: lr stands there twice", "Keep one."),
        ("model: {lr: 1}\nmodel.lr: 2\n", "some.yaml: model.lr stands there twice", "Keep one."),
        ("\ufeffmodel: {lr: abc}", "some.yaml: model.lr cannot be abc", "a number"),
        ("model: {lr: 1}".encode("utf-16"), "some.yaml is not UTF-8 text, but UTF-16", "UTF-8"),
        (b"name: caf\xe9", "some.yaml is not UTF-8 text", "UTF-8"),
        ("trainer: {limit_train_batches: foo}", "some.yaml: trainer.limit_train_batches cannot be foo", "a number"),
        ("model: {lr: [1]}", "some.yaml: model.lr cannot be [1]", "a number"),
        ("model: {lr: true}", "some.yaml: model.lr cannot be True", "a number"),
        ("data: {source: null}", "some.yaml: data.source cannot be null", "FILE.csv"),
        ("data: {system_prompt: null}", "some.yaml: data.system_prompt cannot be null", "text"),
        ("optimizer: {lr: 1}", "optimizer", "CLASS"),
        (
            f"trainer: {{callbacks: [{{class_path: {CALLBACKS}.EarlyStopping}}]}}",
            "some.yaml: trainer.callbacks: EarlyStopping needs monitor",
            "init_args: {monitor: VALUE}",
        ),
        (
            f"trainer: {{callbacks: [{{class_path: {CALLBACKS}.EarlyStoping}}]}}",
            f"there is no class {CALLBACKS}.EarlyStoping",
            f"Did you mean {CALLBACKS}.EarlyStopping?",
        ),
        (
            f"trainer: {{callbacks: {{class_path: {CALLBACKS}.EarlyStopping, init_args: {{monitr: x}}}}}}",
            "monitr is no argument of EarlyStopping",
            "Did you mean monitor?",
        ),
        (
            "optimizer: SGD\nlr_scheduler: {class_path: torch.optim.lr_scheduler.StepLR}",
            "some.yaml: lr_scheduler: StepLR needs step_size",
            "init_args: {step_size: VALUE}",
        ),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_wrong_config_is_named_with_the_place(
    parser: SettingsParser, tmp_path: Path, content: str | bytes, what: str, hint: str
) -> None:
    path = tmp_path / "some.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    error = refuse(parser, "fit", ["--config", str(path)])
    assert what in error.what
    assert hint in error.hint


def test_a_missing_config_names_its_nearest_and_a_folder_is_no_config(parser: SettingsParser, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").touch()
    assert "Did you mean" in (error := refuse(parser, "fit", ["--config", str(tmp_path / "tinny.yaml")])).hint
    assert str(tmp_path / "tiny.yaml") in error.hint
    assert "is a folder" in refuse(parser, "fit", ["--config", str(tmp_path)]).what


def test_the_file_that_is_wrong_is_named_among_several(parser: SettingsParser, tmp_path: Path) -> None:
    for name, content in {
        "a.yaml": "trainer: part.yaml",
        "part.yaml": "max_epoch: 1",
        "b.yaml": "model: {lr: 1}",
    }.items():
        (tmp_path / name).write_text(content)
    error = refuse(parser, "fit", ["--config", str(tmp_path / "b.yaml"), "--config", str(tmp_path / "a.yaml")])
    assert "part.yaml: trainer.max_epoch is" in error.what


def test_files_that_name_each_other_are_refused(parser: SettingsParser, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("config: a.yaml")
    assert "names itself" in refuse(parser, "fit", ["--config", str(tmp_path / "a.yaml")]).what


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict", "prepare"])
def test_every_verb_names_the_nearest(parser: SettingsParser, verb: str) -> None:
    error = refuse(parser, verb, ["--data.sorce", "x"])
    assert str(error) == f"--data.sorce is no option of {verb}.\n  Did you mean --data.source?"


@pytest.mark.parametrize(
    "words",
    [
        ["--trainer.max_epochs", "-1", "--data.system_prompt", "-a patient's question", "--model.lr=1e-3"],
        ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor", "val/perplexity"],
        ["--trainer.callbacks+", f"{CALLBACKS}.LearningRateMonitor", "--trainer.logger", "false"],
        ["--optimizer", "SGD", "--optimizer.lr", "0.1", "--lr_scheduler", "StepLR", "--lr_scheduler.step_size", "1"],
        ["--model.lora", "{r: 4}", "--model.lora", "null", "--data.source", "[a.csv, b.csv]", "--model.base", "null"],
        ["--model", "{lr: 1e-3}", "--trainer.max_time", "00:00:01:00", "--trainer.devices", "[0]"],
        ["--config", "{model: {lr: 1e-3}}"],
    ],
    ids=" ".join,
)
def test_right_options_pass(parser: SettingsParser, words: list[str]) -> None:
    parser.parse_args(["fit", *words])


def test_a_config_may_share_parts_and_be_followed_by_another(parser: SettingsParser, tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second"
    first.write_text(
        "data: &data {source: a.csv, seed: 3}\nmodel: {lr: 1e-3}\ntrainer: {callbacks+: [{class_path: Timer}]}\n"
    )
    second.write_text("data:\n  <<: {source: b.csv, seed: 4}\n  seed: 5\n")
    parsed = parser.parse_args(["fit", "--config", str(first), "--config", str(second)])
    assert (parsed.fit.data.source, parsed.fit.data.seed, parsed.fit.model.lr) == ("b.csv", 5, 1e-3)


@given(
    st.lists(
        st.text(max_size=12) | st.sampled_from(["--model.lr", "--config", "-c", "--optimizer", "null", "[", "{a: "]),
        max_size=4,
    )
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_words_end_in_a_traceback(parser: SettingsParser, words: list[str]) -> None:
    assert not FOREIGN.search(parse(parser, words))


@given(st.text(max_size=60) | st.binary(max_size=60))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_of_a_config_ends_in_a_traceback(
    parser: SettingsParser, tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    assert not FOREIGN.search(parse(parser, ["--config", str(path)]))
