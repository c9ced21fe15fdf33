"""The evaluation in a model card: written once however often, in exports of ours alone, and nothing else changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lightning_med.checkpoints.export_folder import SETTINGS
from lightning_med.evaluation.report.model_card import CARD, render_section, update_card
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.evaluation.report.helpers import NAMES, make_metrics
from tests.pages import with_evil

METRICS_JSON = make_metrics()
END = "<!-- evaluation by lightning-med: end -->\n"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    origin = {"checkpoint": "step-7.ckpt", "checkpoint_digest": "c7" * 32, "data_fingerprint": "f7", "base": None}
    (folder / SETTINGS).write_text(json.dumps(origin), encoding="utf-8")
    (folder / CARD).write_text("# Title\n\nText of mine.\n\n## Limits\n\nEnglish.\n", encoding="utf-8")
    return folder


def test_the_section_stands_before_the_limits_and_the_rest_stays(export: Path) -> None:
    update_card(export, "tuned", METRICS_JSON)
    text = (export / CARD).read_text(encoding="utf-8")
    assert text.startswith("# Title\n\nText of mine.\n")
    assert text.endswith("\n\n## Limits\n\nEnglish.\n")
    assert text.index("## Evaluation") < text.index("## Limits")
    entry = METRICS_JSON["models"]["tuned"]["rougeL"]
    assert f"| ROUGE-L | {entry['value']:.3f} ({entry['low']:.3f} to {entry['high']:.3f}) |" in text
    assert "Nearest training answer" in text
    assert "- **This model** against **Untuned base**." in text
    assert NAMES[1] not in text  # another model is not this card's business
    assert METRICS_JSON["disclaimer"] in text
    assert {path.name for path in export.iterdir()} == {SETTINGS, CARD}  # no temporary file stays


def test_a_second_time_changes_nothing(export: Path) -> None:
    update_card(export, "tuned", METRICS_JSON)
    once = (export / CARD).read_bytes()
    update_card(export, "tuned", METRICS_JSON)
    assert (export / CARD).read_bytes() == once


def test_a_later_evaluation_replaces_an_earlier_one(export: Path) -> None:
    update_card(export, "tuned", make_metrics(seed=1))
    update_card(export, "tuned", METRICS_JSON)
    text = (export / CARD).read_text(encoding="utf-8")
    assert render_section("tuned", METRICS_JSON, json.loads((export / SETTINGS).read_text())) in text
    assert text.count("## Evaluation") == 1


def test_text_after_a_stray_mark_is_kept(export: Path) -> None:
    card = export / CARD
    card.write_text("<!-- evaluation by lightning-med: begin -->\nText of mine.\n", encoding="utf-8")
    for _ in range(2):
        update_card(export, "tuned", METRICS_JSON)
    text = card.read_text(encoding="utf-8")
    assert "Text of mine." in text
    assert text.count("## Evaluation") == 1


def test_the_chain_of_digests_is_complete(export: Path) -> None:
    about = {"tuned": {"digest": "e1" * 32}}
    update_card(export, "tuned", {**METRICS_JSON, "about": about})
    text = (export / CARD).read_text(encoding="utf-8")
    places = [text.index(part) for part in ("`f7`", f"`step-7.ckpt {'c7' * 32}`", f"`{'e1' * 32}`")]
    assert places == sorted(places)


def test_hostile_texts_do_not_end_the_section(export: Path) -> None:
    name = f"x{END}<script>"
    metrics = make_metrics((name,))
    metrics["data"]["files"] = [name]
    metrics["about"][name]["base"] = name
    for _ in range(2):
        update_card(export, name, metrics)
    text = (export / CARD).read_text(encoding="utf-8")
    assert text.count(END) == 1
    assert "<script" not in text.replace("\\<script", "")
    assert render_section("tuned", with_evil(METRICS_JSON))


@pytest.mark.parametrize("missing", [SETTINGS, CARD])
def test_a_foreign_folder_is_refused_and_stays_as_it_is(export: Path, missing: str) -> None:
    (export / missing).unlink()
    before = {path.name: path.read_bytes() for path in export.iterdir()}
    with pytest.raises(InputError, match=missing):
        update_card(export, "tuned", METRICS_JSON)
    assert {path.name: path.read_bytes() for path in export.iterdir()} == before


def test_the_card_of_a_real_export(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    export = tmp_path / "export"
    shutil.copytree(tiny.finished_export(tmp_path_factory.getbasetemp() / "tiny"), export)
    before = (export / CARD).read_text(encoding="utf-8")
    update_card(export, "tuned", {**METRICS_JSON, "about": {}})
    text = (export / CARD).read_text(encoding="utf-8")
    section = text[text.index("<!-- evaluation") : text.index(END) + len(END)]
    assert text.replace(f"{section}\n", "") == before
    settings = json.loads((export / SETTINGS).read_text(encoding="utf-8"))
    assert f"`{settings['checkpoint']} {settings['checkpoint_digest']}`" in section
    assert settings["data_fingerprint"] in section
