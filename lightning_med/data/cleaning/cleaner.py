"""A frame of consultations, cleaned: the rules in their order, then private data; with a count and examples of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lightning_med.data.cleaning.cleaning_rules import COLUMNS, DUPLICATE, RULES, Rule, find_matching, repair_column
from lightning_med.privacy import mask as private
from lightning_med.utils.errors import InputError

ALWAYS = ("missing", "blank")  # without a question and an answer there is nothing to learn
EXAMPLES = 3  # kept of each rule
_AROUND = 60  # characters shown on either side of a change

Example = dict[str, object]


def resolve_rules(settings: dict[str, bool]) -> dict[str, bool]:
    """Every rule and whether it is on: the defaults, changed by the settings.

    Raises:
        InputError: A rule is unknown, or is not one to switch off.
    """
    rules = {**{rule.name: rule.default for rule in RULES}, DUPLICATE: True}
    for name, on in settings.items():
        if name not in rules:
            raise InputError(f"there is no cleaning rule {name!r}.", f"The rules: {', '.join(rules)}.")
        if not isinstance(on, bool):
            raise InputError(
                f"cleaning rule {name}: {on!r} is neither true nor false.", f"Write --data.rules.{name} true."
            )
        if name in ALWAYS and not on:
            raise InputError(f"the rule {name!r} cannot be switched off.", "Such a row has nothing to learn.")
        rules[name] = on
    return rules


@dataclass
class Cleaned:
    """What became of the frames of one source.

    Attributes:
        frame: The rows that are left.
        counts: Rows each rule dropped or mended, or would have dropped.
        private: Private data replaced, by kind.
        examples: By rule, a few places and what stood there; private data masked.
        shortened: Conversations that end before an exchange that a rule dropped.
    """

    frame: pd.DataFrame
    counts: Counter[str] = field(default_factory=Counter)
    private: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    shortened: int = 0


def clean(frame: pd.DataFrame, rules: dict[str, bool], mask: bool) -> Cleaned:
    """Cleans a frame with columns `question`, `answer`, `row` and, for conversations, `turn`.

    Args:
        frame: As read.
        rules: Every rule, and whether it is on.
        mask: Whether private data is replaced.
    """
    done = Cleaned(frame)
    _apply_drop(done, RULES[0], True)
    for rule in RULES[1:]:
        if rule.effect == "repairs" and rules[rule.name]:
            _apply_repair(done, rule)
    if mask:
        _mask_columns(done)
    for rule in RULES[1:]:
        if rule.effect == "drops":
            _apply_drop(done, rule, rules[rule.name])
    return done


def _apply_repair(done: Cleaned, rule: Rule) -> None:
    touched = np.zeros(len(done.frame), dtype=bool)
    for column in COLUMNS:
        before = done.frame[column]
        after, changed = repair_column(before, rule)
        for place in np.flatnonzero(changed)[:EXAMPLES]:
            _keep_example(done, rule.name, int(place), column, before.iloc[place], after.iloc[place])
        touched |= changed
        done.frame = done.frame.assign(**{column: after})
    done.counts[rule.name] += int(touched.sum())


def mask_column(texts: pd.Series, answer: bool) -> tuple[pd.Series, Counter[str]]:
    """A column without private data, and what was replaced; see `private.mask`."""
    counts: Counter[str] = Counter()
    places = np.flatnonzero(find_matching(texts, private.SUSPECT))
    if not len(places):
        return texts, counts
    values = texts.to_numpy(dtype=object, copy=True)
    for place in places:
        values[place], found = private.mask(values[place], answer)
        counts += found
    return pd.Series(values, index=texts.index, dtype=texts.dtype), counts


def _mask_columns(done: Cleaned) -> None:
    for column in COLUMNS:
        texts, found = mask_column(done.frame[column], answer=column == "answer")
        done.private += found
        done.frame = done.frame.assign(**{column: texts})


def _apply_drop(done: Cleaned, rule: Rule, on: bool) -> None:
    condemned = rule.condemn(done.frame)
    if on and "turn" in done.frame:  # an exchange cannot be taken out of the middle: the conversation ends before it
        first = (done.frame["turn"] == 0).to_numpy(dtype=bool)
        conversation = np.cumsum(first)
        ended = pd.Series(condemned).groupby(conversation).cummax().to_numpy(dtype=bool)
        done.counts[rule.name] += int((ended & first).sum())
        done.shortened += len(set(conversation[ended])) - int((ended & first).sum())
        condemned = ended
    else:
        done.counts[rule.name] += int(condemned.sum())
    for place in np.flatnonzero(condemned)[:EXAMPLES]:
        text = done.frame["answer"].iloc[place]
        _keep_example(done, rule.name, int(place), "answer", "" if pd.isna(text) else text, None)
    if on:
        done.frame = done.frame[~condemned]


def _keep_example(done: Cleaned, rule: str, place: int, column: str, before: str, after: str | None) -> None:
    """Notes the surroundings of a change, or an answer's end, as they are without private data."""
    if len(done.examples.setdefault(rule, [])) >= EXAMPLES:
        return
    if private.find_private(before) or private.find_private(
        _repair_all(before)
    ):  # a sign within it may have kept some from a mask
        return
    shown: dict[str, str | None] = {"before": before[-2 * _AROUND :], "after": None}
    if after is not None:
        same = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(after))
        window = slice(max(same - _AROUND, 0), same + _AROUND)
        shown = {"before": before[window], "after": after[window]}
    done.examples[rule].append({"row": int(done.frame["row"].iloc[place]), "column": column, **shown})


def _repair_all(text: str) -> str:
    """A text after all rules that mend."""
    for rule in RULES:
        text = rule.repair(text)
    return text
