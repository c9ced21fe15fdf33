"""Rewriting of a definitive diagnosis ("You have gastritis.") as a possibility ("You may have gastritis.")."""

from __future__ import annotations

import re
from functools import partial

from lightning_med.safety.answers.answer_rules import compile_rewrites
from lightning_med.safety.medical_terms import is_disease

_WORD = re.compile(r"[A-Za-z-]{3,30}")
_RELATIVE = "son|daughter|child|baby|wife|husband|mother|father"
_HAS = re.compile(
    rf"\b(?P<who>you|he|she|they|your (?:{_RELATIVE}))(?P<verb>\s(?:have|has|had|are having|is having|suffers? from)"
    r"|'ve|'ve got|'s got|\shave got|\shas got)\s(?:got |developed |contracted )?(?P<what>(?:[\w'’-]{1,30}\s?){1,5})",
    re.I,
)
_IS = re.compile(
    r"\b(?P<who>it|this|that|these|those|the (?:problem|cause|condition|lump|rash|pain|reason|symptoms?)|symptoms?"
    r"|lesions?)(?P<verb>\s(?:is|are|was)|'s)\s(?P<what>(?:(?:due to|because of|caused by|a|an|the|called|known as"
    r"|typical|classical|case of|sign of)\s){0,4}(?:[\w'’-]{1,30}\s?){1,4})",
    re.I,
)
_UNCERTAIN = re.compile(
    r"\b(?:may|might|could|can|possib\w{1,5}|perhaps|probabl\w{1,2}|likely|if|whether|suggest\w{0,4}|seems?|rule out"
    r"|to see|unlikely|when|usually|often|sometimes|not)\b",
    re.I,
)


def weaken_diagnoses(sentence: str) -> str:
    """Returns the sentence with every statement about what someone has as a possibility."""
    for pattern, template in compile_rewrites():
        sentence = pattern.sub(partial(_expand_in_case, template), sentence)
    sentence = _HAS.sub(partial(_weaken_verb, "may have"), sentence)
    return _IS.sub(partial(_weaken_verb, "may be"), sentence)


def _expand_in_case(template: str, match: re.Match[str]) -> str:
    """The replacement of a match, capitalized if the match is."""
    replacement = match.expand(template)
    return replacement[:1].upper() + replacement[1:] if match[0][:1].isupper() else replacement


def _weaken_verb(verb: str, match: re.Match[str]) -> str:
    if _UNCERTAIN.search(match.string[: match.start()]):
        return match[0]
    if not any(is_disease(word) for word in _WORD.findall(match["what"])):
        return match[0]
    return f"{match['who']} {verb} {match['what']}"
