"""What a page says of a model is what the model's folder says, and nothing where it says nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lightning_med.checkpoints.export_folder import SETTINGS
from lightning_med.serving.model_facts import read_model_facts
from lightning_med.version import __version__

CARD = ["Data", "Rows", "Training rows", "Perplexity, validation", "Bits per byte, validation"]
OWN = ["Base", "Optimizer steps", "Made with"]  # of the export's file


@pytest.fixture
def model(exported: Path, tmp_path: Path) -> Path:
    """A copy of an export, where exports of runs lie."""
    return shutil.copytree(exported, tmp_path / "quickstart" / "version_0" / "export")


def test_the_facts_of_an_export(model: Path) -> None:
    facts = read_model_facts(model)
    found = dict(facts)
    settings = json.loads((model / SETTINGS).read_text(encoding="utf-8"))
    metrics = {
        cells[1].strip(): cells[2].strip()
        for line in (model / "README.md").read_text(encoding="utf-8").splitlines()
        if len(cells := line.split("|")) == 4
    }
    assert [label for label, _ in facts] == ["Model", "Base", *CARD[:3], "Optimizer steps", *CARD[3:], "Made with"]
    assert found["Model"] == "quickstart"
    assert found["Base"] == "random weights"
    assert found["Data"].endswith("consultations.csv")
    assert "`" not in found["Data"]
    assert found["Rows"].endswith(" of 60")
    assert 0 < int(found["Training rows"]) < int(found["Rows"].split()[0]) <= 60
    assert found["Optimizer steps"] == str(settings["step"])
    assert found["Perplexity, validation"] == f"{float(metrics['val/perplexity']):.2f}"
    assert found["Bits per byte, validation"] == f"{float(metrics['val/bits_per_byte']):.2f}"
    assert found["Made with"] == f"lightning_med {__version__}"


def test_the_folder_may_be_the_one_where_we_are(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = read_model_facts(model)
    monkeypatch.chdir(model)
    assert read_model_facts(Path()) == read_model_facts(Path("../export")) == wanted


@pytest.mark.parametrize(("name", "shown"), [("export", "quickstart"), ("my-model", "my-model")])
def test_a_model_is_called_as_its_run_or_its_folder(model: Path, name: str, shown: str) -> None:
    folder = model.rename(model.with_name(name))
    assert read_model_facts(folder)[0] == ("Model", shown)


def test_large_numbers_and_several_sources_are_shown_as_in_the_card(model: Path) -> None:
    card = "Source `a.csv, b. c.csv` (those of `sample` are synthetic). 112,165 rows read, 98,004 kept.\n"
    card += "Training 88,000, validation 5,002, test 5,002; no question stands on two sides.\n| val/perplexity | 17 |\n"
    (model / "README.md").write_text(card, encoding="utf-8")
    (model / SETTINGS).write_text(json.dumps({"step": 12345, "base": "distilgpt2"}), encoding="utf-8")
    assert read_model_facts(model) == [
        ("Model", "quickstart"),
        ("Base", "distilgpt2"),
        ("Data", "a.csv, b. c.csv (those of sample are synthetic)"),
        ("Rows", "98,004 of 112,165"),
        ("Training rows", "88,000"),
        ("Optimizer steps", "12,345"),
        ("Perplexity, validation", "17.00"),
    ]


@pytest.mark.parametrize(
    "card",
    [
        b"",
        b"# My model\n\nSource of all this is me. I read many rows, and kept some.\n\n| val/perplexity | very low |\n",
        b"Training 5 of them, by hand.\n| val/perplexity | 9.41 | on the test split |\n| best val/perplexity | 9.41 |\n",
        b"\xff\xfe\x00 no text",
    ],
)
def test_a_card_that_was_written_by_hand_says_nothing(model: Path, card: bytes) -> None:
    (model / "README.md").write_bytes(card)
    assert [label for label, _ in read_model_facts(model)] == ["Model", *OWN]


def test_files_that_are_missing_are_left_out(model: Path, tmp_path: Path) -> None:
    (model / SETTINGS).unlink()
    assert [label for label, _ in read_model_facts(model)] == ["Model", *CARD]
    (model / "README.md").unlink()
    (model / "README.md").mkdir()
    assert read_model_facts(model) == [("Model", "quickstart")]
    assert read_model_facts(tmp_path / "nowhere") == [("Model", "nowhere")]
    assert read_model_facts(Path("/")) == [("Model", "model")]


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "7", "null", "{}", '{"step": "7", "base": null, "x": 1'])
def test_settings_that_are_none_are_left_out(model: Path, content: str) -> None:
    (model / SETTINGS).write_text(content, encoding="utf-8")
    assert [label for label, _ in read_model_facts(model)] == ["Model", *CARD]


def test_settings_of_another_kind_are_left_out(model: Path) -> None:
    (model / SETTINGS).write_text(json.dumps({"step": "seven", "lightning_med_version": None}), encoding="utf-8")
    assert [label for label, _ in read_model_facts(model)] == ["Model", "Base", *CARD]
