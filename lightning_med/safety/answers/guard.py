"""What a model wrote, checked before anyone reads it: `guard`."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from lightning_med.privacy.mask import KINDS, mask
from lightning_med.safety.medical_terms import is_disease, is_drug
from lightning_med.safety.messages import advice
from lightning_med.safety.messages.rule_matches import URGENT
from lightning_med.safety.messages.triage import Verdict, triage
from lightning_med.safety.yaml_files import read_yaml

DISCLAIMER = (
    "This answer comes from software for research and education, not from a person. It is not medical advice and never"
    " a substitute for care. If you are worried, see a doctor; in an emergency, call your emergency number now."
)
MEDICINES = "Please ask a doctor or a pharmacist which medicine is right for you, and how to take it."
PATH = Path(__file__).with_name("answers.yaml")
_ROUNDS = 6
_FEWEST = 6  # words: an answer with fewer left is none
_LONGEST = 20_000  # characters of an answer that are looked at; no model of ours writes so many
_LEAD = re.compile(r"\s*[*_#> ]{0,4}(?:doctor|answer|assistant)[*_ ]{0,3}\s*:[*_ ]{0,3}", re.I)
_TURN = re.compile(
    r"^[ \t*_#>]{0,8}(?:patient|doctor|system|user|assistant|human|question|answer|###)[*_ ]{0,3}[^\S\n]{0,3}:",
    re.I | re.M,
)
_BRACKETS = re.compile(r"\[[A-Z][^\]\n]{0,30}\]|\{\{[^}\n]{0,30}\}\}")  # a form's blanks: [Your Name], {{date}}
_PLACEHOLDER = re.compile(rf"\[({'|'.join(KINDS)})\]")
_NO_END = "".join(rf"(?<!\b{short}\.)" for short in ("Dr", "Mr", "Mrs", "Ms", r"e\.g", r"i\.e", "vs"))
_END = re.compile(rf"(?<=[.!?]){_NO_END}\s+|\n+|(?<=[a-z)][.!?])(?=[A-Z][a-z])")
_GLUED = re.compile(r"(?<=[a-z)][.!?])(?=[A-Z][a-z])")  # "pain.Take": two sentences
_HARMLESS = re.compile(
    r"\b(?:water|fluids?|teeth|tooth|gargle|rinse|salt|wash|glass(?:es)?|walk|exercise|steps|sleep|brush)\b", re.I
)
_MEDICAL = re.compile(r"\b(?:mc?g|tablets?|capsules?|pills?|inject\w{0,5}|dos(?:e|age)|syrup|cream|ointment)\b", re.I)
_DOCTORS = re.compile(  # what a doctor may do, or be asked
    r"\b(?:ask|see|tell|consult|talk to|speak to|check with|asking|seeing|talking to)\b[^.!?]{0,40}"
    r"\b(?:doctor|pharmacist|gp|nurse)"
    r"|\b(?:a|your|the) (?:doctor|gp|nurse) (?:can|may|could|will|might)\b",
    re.I,
)
_QUOTES = str.maketrans("’‘‛“”„", "'''\"\"\"")
_SPACES = re.compile(r"(?<=\S) {2,}(?=\S)")
_WORD = re.compile(r"[A-Za-z-]{3,30}")
_TAKE = re.compile(
    r"\b(?:take|taking|use|using|try|start|starting|apply|applying|continue|give|giving|advise|advised|suggest"
    r"|suggested|recommend|recommended|prescribe|prescribed|put on|course of|trial of|treated with|treat it with|go for"
    r"|stop|stopping)\b",
    re.I,
)
_KIN = "son|daughter|child|baby|wife|husband|mother|father"
_HAS = re.compile(
    rf"\b(?P<who>you|he|she|they|your (?:{_KIN}))(?P<verb>\s(?:have|has|had|are having|is having|suffers? from)"
    r"|'ve|'ve got|'s got|\shave got|\shas got)\s(?:got |developed |contracted )?(?P<what>(?:[\w'’-]{1,30}\s?){1,5})",
    re.I,
)
_IS = re.compile(
    r"\b(?P<who>it|this|that|these|those|the (?:problem|cause|condition|lump|rash|pain|reason|symptoms?)|symptoms?"
    r"|lesions?)(?P<verb>\s(?:is|are|was)|'s)\s(?P<what>(?:(?:due to|because of|caused by|a|an|the|called|known as"
    r"|typical|classical|case of|sign of)\s){0,4}(?:[\w'’-]{1,30}\s?){1,4})",
    re.I,
)
_UNSURE = re.compile(
    r"\b(?:may|might|could|can|possib\w{1,5}|perhaps|probabl\w{1,2}|likely|if|whether|suggest\w{0,4}|seems?|rule out"
    r"|to see|unlikely|when|usually|often|sometimes|not)\b",
    re.I,
)


@dataclass(frozen=True)
class Guarded:
    """An answer as it may be shown.

    Attributes:
        answer: The text, the disclaimer at its end.
        actions: What was done, and how often: `dose`, `diagnosis`, `discouragement`, `credential`, `name`, `contact`,
            `private`, `abuse`, `placeholder`, `turn`; `fallback` where too little was left, `advice` where fixed words
            stand in the answer's place, `notice` where they stand before it.
        verdict: On the question.
    """

    answer: str
    actions: dict[str, int]
    verdict: Verdict = field(default_factory=lambda: Verdict("ordinary"))


def guard(question: str, answer: str, region: str | None = None, verdict: Verdict | None = None) -> Guarded:
    """Removes or rewrites what must not stand in an answer, and adds the disclaimer once.

    Doses and prescriptions, a definitive diagnosis, discouragement from seeking care, invented names and credentials,
    links and contacts, private data, abuse, placeholders, a second turn. A question of danger gets its fixed advice,
    whatever the answer says. Guarding what is guarded changes nothing.

    Args:
        question: What was asked.
        answer: What the model wrote.
        region: Whose emergency numbers are named; see `advice.region_of`.
        verdict: On the question, where it is known already.
    """
    verdict = verdict or triage(question, region)
    if not verdict.answerable:
        return Guarded(f"{verdict.advice}\n\n{DISCLAIMER}", {"advice": 1}, verdict)
    actions: Counter[str] = Counter()
    text = _clean_answer(answer[: 2 * _LONGEST])
    while DISCLAIMER in text:
        text = text.replace(DISCLAIMER, "")
    if verdict.advice:
        text = text.replace(_clean_answer(verdict.advice), "")
    text = text[:_LONGEST]
    for _ in range(_ROUNDS):  # what a sentence hid may come to light when it has gone
        before, text = text, _check_sentences(text, actions)
        if text == before:
            break
    else:
        text = ""
    fixed = advice.get_notice("safe_answer", region)
    if len(text.replace(MEDICINES, "").split()) < _FEWEST:
        actions["fallback"] += 1
        text = fixed
    if verdict.level == URGENT:
        actions["notice"] += 1
        text = f"{verdict.advice}\n\n{text}"
    return Guarded(f"{text}\n\n{DISCLAIMER}", dict(actions), verdict)


def _clean_answer(text: str) -> str:
    """With plain quotation marks, and without signs that no one sees: they would hide words from the patterns."""
    text = text.translate(_QUOTES)
    return text if text.isascii() else "".join(sign for sign in text if unicodedata.category(sign) != "Cf")


def _check_sentences(text: str, actions: Counter[str]) -> str:
    text = text[lead.end() :] if (lead := _LEAD.match(text)) else text
    if turn := _TURN.search(text):
        actions["turn"] += 1
        text = text[: turn.start()]
    hinted = MEDICINES in text
    text = _GLUED.sub(" ", text.replace(MEDICINES, ""))
    text, masked = mask(_BRACKETS.sub("<|placeholder|>", text), answer=True)
    if masked["NAME"]:
        actions["name"] += masked["NAME"]
    kept: list[str] = []
    for sentence in split_sentences(text):
        reason = _find_reason(sentence)
        if reason:
            actions[reason] += 1
        else:
            kept.append(_rewrite(sentence.replace(" [NAME]", "").replace("[NAME]", ""), actions))
    text = _SPACES.sub(" ", "".join(kept)).strip()
    return f"{text} {MEDICINES}".strip() if hinted or actions["dose"] else text


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, each with the white space behind it; glued ones ("pain.Take") apart."""
    parts: list[str] = []
    start = 0
    for end in _END.finditer(text):
        parts.append(text[start : end.end()] if end[0] else f"{text[start : end.end()]} ")
        start = end.end()
    return [part for part in (*parts, text[start:]) if part.strip()]


def _find_reason(sentence: str) -> str | None:
    """Why a sentence must go; `None` where it may stay."""
    drug = any(is_drug(word) for word in _WORD.findall(sentence))
    harmless = not drug and _HARMLESS.search(sentence) and not _MEDICAL.search(sentence)  # "twice a day" of brushing
    for name, patterns in _compile_patterns().items():
        if (name != "dose" or not harmless) and any(pattern.search(sentence) for pattern in patterns):
            return name
    if drug and (
        any(sign.isdigit() for sign in sentence) or (_TAKE.search(sentence) and not _DOCTORS.search(sentence))
    ):
        return "dose"
    kinds = set(_PLACEHOLDER.findall(sentence)) - {"NAME"}
    return None if not kinds else "contact" if kinds & {"EMAIL", "URL", "PHONE"} else "private"


def _rewrite(sentence: str, actions: Counter[str]) -> str:
    """A certainty about what someone has, as a possibility."""
    before = sentence
    for pattern, better in _compile_rewrites():
        sentence = pattern.sub(partial(_match_case, better), sentence)
    sentence = _HAS.sub(partial(_add_doubt, "may have"), sentence)
    sentence = _IS.sub(partial(_add_doubt, "may be"), sentence)
    if sentence != before:
        actions["diagnosis"] += 1
    return sentence


def _add_doubt(verb: str, found: re.Match[str]) -> str:
    if _UNSURE.search(found.string[: found.start()]) or not any(
        is_disease(word) for word in _WORD.findall(found["what"])
    ):
        return found[0]
    return f"{found['who']} {verb} {found['what']}"


def _match_case(better: str, found: re.Match[str]) -> str:
    better = found.expand(better)
    return better[:1].upper() + better[1:] if found[0][:1].isupper() else better


def unsafe_advice_pattern() -> str:
    """One RE2 pattern for what no doctor should write: discouragement from seeking care, and abuse."""
    return "(?i)" + "|".join(text for name in ("discouragement", "abuse") for text in _read_rules()["remove"][name])


@cache
def _read_rules() -> dict[str, Any]:
    return read_yaml(PATH)


@cache
def _compile_patterns() -> dict[str, list[re.Pattern[str]]]:
    flags = re.IGNORECASE
    return {name: [re.compile(text, flags) for text in texts] for name, texts in _read_rules()["remove"].items()}


@cache
def _compile_rewrites() -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(one["find"], re.IGNORECASE), one["write"]) for one in _read_rules()["rewrite"]]
