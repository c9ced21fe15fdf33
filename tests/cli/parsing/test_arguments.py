"""Wrong options of the verbs that need no trainer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.helpers import run_refused


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        (["respond", "--modell", "x", "Why?"], ["--modell is no option of respond.", "Did you mean --model?"]),
        (["respond", "--modell=x", "Why?"], ["--modell is no option of respond.", "Did you mean --model?"]),
        (["respond", "--safty", "off", "Why?"], ["--safty is no option of respond.", "Did you mean --safety?"]),
        (["respond", "--safety", "of", "Why?"], ["--safety cannot be of.", "Did you mean off? It takes on or off."]),
        (["respond", "--model"], ["--model needs a value.", "lightning-med respond --help shows the options."]),
        (
            ["respond"],
            [
                "respond needs QUESTION.",
                "Or answer a file: --input FILE; lightning-med respond --help shows the options.",
            ],
        ),
        (["respond", "--gravity", "Why?"], ["--gravity is no option of respond.", "--help"]),
        (["export", "--chekpoint", "x"], ["--chekpoint is no option of export.", "Did you mean --checkpoint?"]),
        (["export"], ["export needs --checkpoint and --output.", "--help"]),
        (
            ["export", "--checkpoint", "x", "--output", "y", "--format", "ggfu"],
            ["--format cannot be ggfu.", "Did you mean gguf? It takes hf or gguf."],
        ),
        (["export", "--checkpoint", "x", "--output", "y", "--format", ""], ["--format cannot be empty.", "It takes"]),
        (["triage", "--ouput", "x", "--input", "y"], ["--ouput is no option of triage.", "Did you mean --output?"]),
        (["triage", "--regio", "GB", "My chest hurts."], ["--regio is no option of triage.", "Did you mean --region?"]),
    ],
    ids=lambda value: " ".join(value) if value[0].isalpha() else "",
)
def test_a_wrong_option_is_named_with_what_is_meant(argv: list[str], lines: list[str], tmp_path: Path) -> None:
    err = run_refused(*argv, cwd=tmp_path)
    assert lines[0] in err
    assert lines[1] in err


def test_a_text_may_begin_with_dashes(tmp_path: Path) -> None:
    from tests import tiny

    for argv in (["triage", "-- my chest hurts"], ["triage", "--", "--chest"]):
        status, out, err = tiny.command(*argv, cwd=tmp_path)
        assert status == 0, err
        assert '"level"' in out
