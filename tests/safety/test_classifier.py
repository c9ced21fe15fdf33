"""The sentence encoder of triage: what it reads, what it finds, what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lightning_med.safety import triage
from lightning_med.safety.levels import ORDINARY, URGENT
from lightning_med.safety.messages.advice import compose_advice
from lightning_med.safety.messages.danger_rules import load_rulebook
from lightning_med.safety.messages.encoder import classifier
from lightning_med.safety.messages.encoder.classifier import WINDOW, EncoderClassifier, load_classifier, plan_windows

DANGER = "crushing pain in my chest and left arm for an hour, grey and sweating, cant get my breath"
HARMLESS = "Which moisturiser is good for dry skin in winter? I wash the dishes every day and my hands are rough. "


@pytest.mark.parametrize("tokens", [1, WINDOW - 2, WINDOW - 1, 1000, 1100])
def test_windows_cover_a_message(tokens: int) -> None:
    windows = plan_windows(tokens)
    assert {token for window in windows for token in window} == set(range(tokens))
    assert all(0 < len(window) <= WINDOW - 2 for window in windows)


def test_a_very_long_message_is_read_at_both_ends() -> None:
    windows = plan_windows(1_000_000)
    assert len(windows) == 8
    assert windows[0].start == 0
    assert windows[-1].stop == 1_000_000


def test_probabilities_sum_to_one() -> None:
    for text in (DANGER, HARMLESS, HARMLESS * 30, "", "?", "[SEP]", "\x00"):
        found = load_classifier().read(text).probabilities
        assert sum(found.values()) == pytest.approx(1)
        assert min(found.values()) >= 0


@pytest.mark.parametrize("before", [0, 15, 40])
def test_a_danger_is_found_wherever_it_stands(before: int) -> None:
    assert triage(f"{HARMLESS * before}{DANGER}. {HARMLESS * (40 - before)}").level == "emergency"


def test_a_control_token_of_the_encoder_is_read_as_text() -> None:
    model = load_classifier()
    assert len(model.read("[SEP]").spans) > 1


def test_evidence_is_words_of_the_message() -> None:
    verdict = triage(f"{HARMLESS}{DANGER}.")
    assert verdict.evidence
    for words in verdict.evidence:
        assert words in f"{HARMLESS}{DANGER}.".lower()
        assert "moisturiser" not in words


def test_a_notice_names_what_was_read() -> None:
    text = "my ear hurts badly and fluid is coming out since last night"
    verdict = triage(text, "GB")
    assert verdict.level == "urgent"
    assert verdict.advice.startswith(f"You wrote of “{verdict.evidence[0]}”")
    assert verdict.evidence[0] in text


def test_braces_in_a_message_are_not_filled_in() -> None:
    shown = compose_advice([("see_soon", URGENT)], "GB", ["{call} {0} {} is swollen"])
    assert "You wrote of “{call} {0} {} is swollen”." in shown
    assert "call 999" in shown


def test_a_verdict_needs_no_torch() -> None:
    code = (
        "import sys; from lightning_med.safety import guard; guard('crushing chest pain', 'Rest.');"
        "print([name for name in ('torch', 'pandas', 'transformers', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_classes_are_those_of_the_rules() -> None:
    """If it fails, tune it anew: scripts/train_triage.py."""
    assert load_classifier().names == [ORDINARY, URGENT, *load_rulebook().categories]


def test_both_files_together_stay_small() -> None:
    sizes = [path.stat().st_size for path in (classifier.PATH, classifier.TOKENIZER_PATH)]
    assert sum(sizes) <= 25_000_000


def test_a_kind_of_danger_that_is_a_guess_gets_no_first_aid(monkeypatch: pytest.MonkeyPatch) -> None:
    read = EncoderClassifier.read

    def doubt(self: EncoderClassifier, text: str) -> classifier.Reading:
        found = read(self, text)
        names = dict.fromkeys(self.names, 0.0) | kinds
        return classifier.Reading(found.text, names, found.spans, found.contributions)

    monkeypatch.setattr(EncoderClassifier, "read", doubt)
    kinds = {"anaphylaxis": 0.3, "chest_pain": 0.35, "stroke": 0.35}
    verdict = triage("Which syrup helps against a cough?")
    assert (verdict.level, verdict.categories) == ("emergency", ("emergency",))
    assert len(verdict.advice.splitlines()) == 1
    kinds = {"anaphylaxis": 0.9, "chest_pain": 0.1}
    verdict = triage("Which syrup helps against a cough?")
    assert verdict.categories == ("anaphylaxis",)
    assert "EpiPen" in verdict.advice


def test_the_classifier_never_lowers_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
    read = EncoderClassifier.read

    def read_nothing(self: EncoderClassifier, text: str) -> classifier.Reading:
        found = read(self, text)
        names = dict.fromkeys(self.names, 0.0) | {ORDINARY: 1.0}
        return classifier.Reading(found.text, names, found.spans, found.contributions)

    text = "crushing chest pain and I am sweating"
    monkeypatch.setattr(EncoderClassifier, "read", read_nothing)
    assert triage(text).level == "emergency"
    assert triage(HARMLESS).level == "ordinary"
