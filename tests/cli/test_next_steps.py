"""The command that is named after `prepare`."""

from __future__ import annotations

import pytest

from lightning_med.cli.output.next_steps import print_after_prepare

SMALL = "--model.base null --model.from_scratch '{n_layer: 2, n_embd: 128, n_head: 4}'"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["--config", "a.yaml", "--output", "report"], "--config a.yaml"),
        (["--config=a.yaml", "--data.tokenizer", "train"], "--config=a.yaml --data.tokenizer train"),
        (
            ["--data.source", "my notes.csv", "--data.tokenizer", "bases/smollm2"],
            "--data.source 'my notes.csv' --data.tokenizer bases/smollm2 --model.base bases/smollm2",
        ),
        (["--data.tokenizer=bases/smollm2"], "--data.tokenizer=bases/smollm2 --model.base bases/smollm2"),
        (["--data.tokenizer", "train", "--output=report"], f"--data.tokenizer train {SMALL}"),
        (["--data.tokenizer", "a", "--model.base", "b"], "--data.tokenizer a --model.base b"),
        (["--data.source", "a.csv"], "--data.source a.csv"),
    ],
)
def test_the_fit_after_prepare_has_the_same_data_and_a_model_for_it(
    capsys: pytest.CaptureFixture[str], given: list[str], shown: str
) -> None:
    print_after_prepare(given)
    assert capsys.readouterr().out == f"next: lightning-med fit {shown}\n"
