"""Sentences that are removed from an answer: doses, discouragement, credentials, contacts, private data, abuse, …"""

from __future__ import annotations

import re

from lightning_med.privacy.mask import KINDS
from lightning_med.safety.answers.answer_rules import compile_removals
from lightning_med.safety.medical_terms import is_drug

_ABBREVIATIONS = "".join(rf"(?<!\b{short}\.)" for short in ("Dr", "Mr", "Mrs", "Ms", r"e\.g", r"i\.e", "vs"))
_SENTENCE_END = re.compile(rf"(?<=[.!?]){_ABBREVIATIONS}\s+|\n+|(?<=[a-z)][.!?])(?=[A-Z][a-z])")
_PLACEHOLDER = re.compile(rf"\[({'|'.join(KINDS)})\]")
_WORD = re.compile(r"[A-Za-z-]{3,30}")
_NO_MEDICINE = re.compile(  # what may be done "twice a day"
    r"\b(?:water|fluids?|teeth|tooth|gargle|rinse|salt|wash|soak|compress(?:es)?|massage|stretch(?:es)?|glass(?:es)?|walk|exercise|steps|sleep|brush)\b",
    re.I,
)
_MEDICINE = re.compile(r"\b(?:mc?g|tablets?|capsules?|pills?|inject\w{0,5}|dos(?:e|age)|syrup|cream|ointment)\b", re.I)
_TAKE = re.compile(
    r"\b(?:take|taking|use|using|try|start|starting|apply|applying|continue|give|giving|advise|advised|suggest"
    r"|suggested|recommend|recommended|prescribe|prescribed|put on|course of|trial of|treated with|treat it with|go for"
    r"|stop|stopping)\b",
    re.I,
)
_BY_A_DOCTOR = re.compile(  # what a doctor may do, or be asked
    r"\b(?:ask|see|tell|consult|talk to|speak to|check with|asking|seeing|talking to)\b[^.!?]{0,40}"
    r"\b(?:doctor|pharmacist|gp|nurse)"
    r"|\b(?:a|your|the) (?:doctor|gp|nurse) (?:can|may|could|will|might)\b",
    re.I,
)


def split_sentences(text: str) -> list[str]:
    """Splits a text into sentences, each with the white space after it; a blank is added where it is missing."""
    sentences: list[str] = []
    start = 0
    for end in _SENTENCE_END.finditer(text):
        sentences.append(text[start : end.end()] if end[0] else f"{text[start : end.end()]} ")
        start = end.end()
    return [sentence for sentence in (*sentences, text[start:]) if sentence.strip()]


def find_removal_reason(sentence: str) -> str | None:
    """Returns why a sentence must be removed, as counted in `Guarded.actions`, or `None` if it may stay.

    Args:
        sentence: With placeholders instead of private data.
    """
    drug = any(is_drug(word) for word in _WORD.findall(sentence))
    no_dose = not drug and _NO_MEDICINE.search(sentence) and not _MEDICINE.search(sentence)
    for reason, patterns in compile_removals().items():
        if (reason != "dose" or not no_dose) and any(pattern.search(sentence) for pattern in patterns):
            return reason
    if drug and (
        any(character.isdigit() for character in sentence)
        or (_TAKE.search(sentence) and not _BY_A_DOCTOR.search(sentence))
    ):
        return "dose"
    kinds = set(_PLACEHOLDER.findall(sentence)) - {"NAME"}
    return None if not kinds else "contact" if kinds & {"EMAIL", "URL", "PHONE"} else "private"
