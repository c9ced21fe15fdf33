"""Cleans a frame of consultations: rules in their order, then private data, with counts and examples of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lightning_med.data.cleaning.cleaning_rules import DUPLICATE, RULES
from lightning_med.data.cleaning.rule import COLUMNS, Rule, find_matching, repair_column
from lightning_med.privacy import mask as private
from lightning_med.utils.errors import InputError

ALWAYS = ("missing", "blank", "not_learned")  # rules that cannot be switched off
EXAMPLES = 3  # kept of each rule
_CONTEXT = 60  # characters shown on either side of a change

Example = dict[str, object]


def resolve_rules(settings: dict[str, bool]) -> dict[str, bool]:
    """Returns every rule and whether it is on: the defaults, changed by the settings.

    Raises:
        InputError: A rule is unknown or cannot be switched off, or a setting is not a boolean.
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
    """A cleaned frame, and what was done to it.

    Attributes:
        frame: The rows that are left.
        counts: By rule, the rows it dropped or repaired, or would have dropped.
        private: Private data replaced, by kind.
        examples: By rule, places and texts of a few changes, without private data.
        shortened: Conversations that end before an exchange that a rule dropped.
    """

    frame: pd.DataFrame
    counts: Counter[str] = field(default_factory=Counter)
    private: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    shortened: int = 0


def clean(frame: pd.DataFrame, rules: dict[str, bool], mask: bool) -> Cleaned:
    """Cleans a frame.

    Args:
        frame: Has columns `question`, `answer`, `row` and, for conversations, `turn` and `learned`.
        rules: Every rule, and whether it is on.
        mask: Whether private data is replaced.
    """
    cleaned = Cleaned(frame)
    _apply_drop(cleaned, RULES[0], True)
    for rule in RULES[1:]:
        if rule.effect == "repairs" and rules[rule.name]:
            _apply_repair(cleaned, rule)
    if mask:
        _mask_columns(cleaned)
    for rule in RULES[1:]:
        if rule.effect == "drops":
            _apply_drop(cleaned, rule, rules[rule.name])
    return cleaned


def repair(frame: pd.DataFrame, rules: dict[str, bool], mask: bool) -> pd.DataFrame:
    """Repairs a frame as `clean` does, but drops nothing; texts may be null.

    Args:
        frame: Has columns `question` and `answer`.
        rules, mask: See `clean`.
    """
    for column in COLUMNS:
        texts = frame[column]
        for rule in RULES:
            if rule.effect == "repairs" and rules[rule.name]:
                texts = repair_column(texts, rule)[0]
        frame = frame.assign(**{column: mask_column(texts, column == "answer")[0] if mask else texts})
    return frame


def _apply_repair(cleaned: Cleaned, rule: Rule) -> None:
    changed_rows = np.zeros(len(cleaned.frame), dtype=bool)
    for column in COLUMNS:
        before = cleaned.frame[column]
        after, changed = repair_column(before, rule)
        for position in np.flatnonzero(changed)[:EXAMPLES]:
            _keep_example(cleaned, rule.name, int(position), column, before.iloc[position], after.iloc[position])
        changed_rows |= changed
        cleaned.frame = cleaned.frame.assign(**{column: after})
    cleaned.counts[rule.name] += int(changed_rows.sum())


def mask_column(texts: pd.Series, answer: bool) -> tuple[pd.Series, Counter[str]]:
    """Masks private data in a column.

    Args:
        texts: Questions or answers.
        answer: See `privacy.mask.mask`.

    Returns:
        The masked texts, and how much was replaced by kind.
    """
    counts: Counter[str] = Counter()
    positions = np.flatnonzero(find_matching(texts, private.SUSPECT))
    if not len(positions):
        return texts, counts
    values = texts.to_numpy(dtype=object, copy=True)
    for position in positions:
        values[position], replaced = private.mask(values[position], answer)
        counts += replaced
    return pd.Series(values, index=texts.index, dtype=texts.dtype), counts


def _mask_columns(cleaned: Cleaned) -> None:
    for column in COLUMNS:
        texts, replaced = mask_column(cleaned.frame[column], answer=column == "answer")
        cleaned.private += replaced
        cleaned.frame = cleaned.frame.assign(**{column: texts})


def _apply_drop(cleaned: Cleaned, rule: Rule, on: bool) -> None:
    """Drops the rule's rows, or only counts them; a dropped exchange ends its conversation."""
    dropped = rule.find_rows(cleaned.frame)
    if "learned" in cleaned.frame and rule.name not in ALWAYS:  # what is not learned may be short, cut or unsafe
        dropped = dropped & cleaned.frame["learned"].to_numpy(dtype=bool)
    if on and "turn" in cleaned.frame:
        first = (cleaned.frame["turn"] == 0).to_numpy(dtype=bool)
        conversation = np.cumsum(first)
        dropped = pd.Series(dropped).groupby(conversation).cummax().to_numpy(dtype=bool)
        whole = int((dropped & first).sum())
        cleaned.counts[rule.name] += whole
        cleaned.shortened += len(set(conversation[dropped])) - whole
    else:
        cleaned.counts[rule.name] += int(dropped.sum())
    for position in np.flatnonzero(dropped)[:EXAMPLES]:
        text = cleaned.frame["answer"].iloc[position]
        _keep_example(cleaned, rule.name, int(position), "answer", "" if pd.isna(text) else text, None)
    if on:
        cleaned.frame = cleaned.frame[~dropped]


def _keep_example(cleaned: Cleaned, rule: str, position: int, column: str, before: str, after: str | None) -> None:
    """Keeps the surroundings of a change, or the end of an answer, unless the text has private data."""
    examples = cleaned.examples.setdefault(rule, [])
    if len(examples) >= EXAMPLES:
        return
    # The repaired text too: a character or a tag within private data can hide it.
    if private.find_private(before) or private.find_private(_repair_all(before)):
        return
    shown: dict[str, str | None] = {"before": before[-2 * _CONTEXT :], "after": None}
    if after is not None:
        change = next((i for i, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), len(after))
        window = slice(max(change - _CONTEXT, 0), change + _CONTEXT)
        shown = {"before": before[window], "after": after[window]}
    examples.append({"row": int(cleaned.frame["row"].iloc[position]), "column": column, **shown})


def _repair_all(text: str) -> str:
    for rule in RULES:
        text = rule.repair(text)
    return text
