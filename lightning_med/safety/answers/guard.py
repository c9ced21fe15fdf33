"""`guard`: the check on an answer, before anyone reads it."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field

from lightning_med.privacy.mask import mask
from lightning_med.safety.answers.diagnoses import weaken_diagnoses
from lightning_med.safety.answers.unsafe_sentences import find_removal_reason, split_sentences
from lightning_med.safety.levels import ORDINARY, URGENT
from lightning_med.safety.messages.advice import get_notice
from lightning_med.safety.messages.triage import Verdict, triage
from lightning_med.utils.errors import check_text

DISCLAIMER = (
    "This answer comes from software for research and education, not from a person. It is not medical advice and never"
    " a substitute for care. If you are worried, see a doctor; in an emergency, call your emergency number now."
)
MEDICINE_HINT = "Please ask a doctor or a pharmacist which medicine is right for you, and how to take it."
_HINT = re.compile(rf"(?<=\n){re.escape(MEDICINE_HINT)} ?|{re.escape(MEDICINE_HINT)}")  # no blank stays before a line
_MAX_PASSES = 6
_MIN_WORDS = 6  # an answer with fewer words left is replaced
_MAX_LENGTH = 20_000  # characters of an answer that are kept; our models write far fewer
_LEADING_ROLE = re.compile(r"\s*[*_#> ]{0,4}(?:doctor|answer|assistant)[*_ ]{0,3}\s*:[*_ ]{0,3}", re.I)
_NEXT_ROLE = re.compile(
    r"^[ \t*_#>]{0,8}(?:patient|doctor|system|user|assistant|human|question|answer|###)[*_ ]{0,3}[^\S\n]{0,3}:",
    re.I | re.M,
)
_FORM_FIELD = re.compile(r"\[[A-Z][^\]\n]{0,30}\]|\{\{[^}\n]{0,30}\}\}")  # [Your Name], {{date}}
_MISSING_BLANK = re.compile(r"(?<=[a-z)][.!?])(?=[A-Z][a-z])")  # "pain.Take"
_QUOTES = str.maketrans("’‘‛“”„", "'''\"\"\"")
_SPACES = re.compile(r"(?<=\S) {2,}(?=\S)")


@dataclass(frozen=True)
class Guarded:
    """A guarded answer.

    Attributes:
        answer: The text to show, with the disclaimer at its end.
        actions: What was done, and how often. Removed or rewritten: `dose`, `diagnosis`, `discouragement`,
            `credential`, `name`, `contact`, `private`, `abuse`, `placeholder`, `turn`. `fallback`: a fixed text
            replaces the answer because too little was left. `advice`: fixed advice replaces the answer. `notice`:
            urgent advice was put above the answer.
        verdict: On the question.
    """

    answer: str
    actions: dict[str, int]
    verdict: Verdict = field(default_factory=lambda: Verdict(ORDINARY))


def guard(question: str, answer: str, region: str | None = None, verdict: Verdict | None = None) -> Guarded:
    """Removes or rewrites what must not be in an answer, and adds the disclaimer.

    That is: doses and prescriptions, a definitive diagnosis, discouragement from seeking care, invented names and
    credentials, links and contacts, private data, abuse, placeholders, a second turn. If the question asks for fixed
    advice, this replaces the answer. Guarding a guarded answer changes nothing.

    Args:
        question: The patient's words.
        answer: The model's answer.
        region: See `triage`.
        verdict: Of `triage` on the question, if it is known already.

    Raises:
        InputError: The question or the answer is not text.
    """
    check_text("The question", question)
    check_text("The answer", answer)
    verdict = verdict or triage(question, region)
    if not verdict.answerable:
        return Guarded(f"{verdict.advice}\n\n{DISCLAIMER}", {"advice": 1}, verdict)
    text, actions = clean_answer(answer, verdict)
    if is_too_little(text):
        actions["fallback"] += 1
        text = get_notice("safe_answer", region)
    if verdict.level == URGENT:
        actions["notice"] += 1
        text = f"{verdict.advice}\n\n{text}"
    return Guarded(f"{text}\n\n{DISCLAIMER}", dict(actions), verdict)


def clean_answer(answer: str, verdict: Verdict) -> tuple[str, Counter[str]]:
    """Removes and rewrites what must not be in an answer; adds nothing but the hint on medicines.

    Args:
        answer: The model's answer.
        verdict: On the question; its advice is taken out, where the model repeats it.

    Returns:
        What is left, maybe nothing, and the actions.
    """
    actions: Counter[str] = Counter()
    text = normalize_answer(answer[: 2 * _MAX_LENGTH])
    while DISCLAIMER in text:
        text = text.replace(DISCLAIMER, "")
    if verdict.advice:
        text = text.replace(normalize_answer(verdict.advice), "")
    text = text[:_MAX_LENGTH]
    for _ in range(_MAX_PASSES):  # a removal can bring parts of the text together that must be removed, too
        before, text = text, _clean(text, actions)
        if text == before:
            return text, actions
    return "", actions


def is_too_little(text: str) -> bool:
    """Returns whether so little is left of an answer that a fixed text replaces it."""
    return len(text.replace(MEDICINE_HINT, "").split()) < _MIN_WORDS


def normalize_answer(text: str) -> str:
    """The text with plain quotation marks and without invisible characters, which hide words from the patterns."""
    text = text.translate(_QUOTES)
    return text if text.isascii() else "".join(char for char in text if unicodedata.category(char) != "Cf")


def _clean(text: str, actions: Counter[str]) -> str:
    """One pass over the answer; adds to the counts of actions."""
    text = text[role.end() :] if (role := _LEADING_ROLE.match(text)) else text
    if role := _NEXT_ROLE.search(text):
        actions["turn"] += 1
        text = text[: role.start()]
    hinted = MEDICINE_HINT in text
    text = _MISSING_BLANK.sub(" ", _HINT.sub("", text))
    text, masked = mask(_FORM_FIELD.sub("<|placeholder|>", text), answer=True)
    if masked["NAME"]:
        actions["name"] += masked["NAME"]
    kept: list[str] = []
    for sentence in split_sentences(text):
        if reason := find_removal_reason(sentence):
            actions[reason] += 1
            continue
        sentence = sentence.replace(" [NAME]", "").replace("[NAME]", "")
        kept.append(weaken_diagnoses(sentence))
        if kept[-1] != sentence:
            actions["diagnosis"] += 1
    text = _SPACES.sub(" ", "".join(kept)).strip()
    return f"{text} {MEDICINE_HINT}".strip() if hinted or actions["dose"] else text
