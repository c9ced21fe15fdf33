"""`triage_conversation`: the verdict on the last message of a conversation, with those before it in view."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from lightning_med.safety.levels import CRISIS, EMERGENCY, HARMFUL, RANK, URGENT
from lightning_med.safety.messages.advice import get_notice
from lightning_med.safety.messages.triage import Verdict, triage

_RECALLED = 20  # messages before the last in which a danger is looked for
_ALARMS = (EMERGENCY, CRISIS)
_UNREAD = (HARMFUL, CRISIS)

_triage = lru_cache(maxsize=256)(triage)  # a conversation is read anew at each of its messages


def triage_conversation(messages: Sequence[str], region: str | None = None) -> Verdict:
    """Returns the safety verdict on what a person wrote last.

    - The last message alone decides where it alarms or is harmful.
    - So does the last message together with the one before it: "My left arm feels heavy." and "My chest too" are a
      danger together only.
    - A danger of an earlier message, or of two of them together, holds: the person has gone on writing, so a model may
      answer, under that danger's advice. The level is `urgent` then.

    Args:
        messages: Of the person alone, in order; at least one.
        region: See `triage`.
    """
    messages = messages[-2 - _RECALLED :]
    last = _judge(messages, len(messages) - 1, region)
    if not last.answerable:
        return last
    before = [_judge(messages, place, region) for place in range(len(messages) - 1)]
    dangers = {verdict.level: verdict for verdict in before[-_RECALLED:] if verdict.level in _ALARMS}
    return _recall([dangers[level] for level in _ALARMS if level in dangers], last, region) if dangers else last


def list_readable(messages: Sequence[str], region: str | None = None) -> list[int]:
    """Returns the places of the messages that a model may read when it answers the last one.

    That is what was said after the last harmful message or crisis, which may ask for the means: "thanks" and then "and
    how much of it would that take?" get no answer to it, and "ok, and what now?" none to an older complaint. Messages
    from before those in which `triage_conversation` looks for a danger are left out, too.

    Args:
        messages: Of the person alone, in order; the last one may be answered.
        region: See `triage`.
    """
    last = len(messages) - 1
    first = max(last - _RECALLED, 0)
    unread = [place for place in range(first, last) if _judge(messages, place, region).level in _UNREAD]
    return list(range(max([first, *(place + 1 for place in unread)]), last + 1))


def is_recalled(verdict: Verdict) -> bool:
    """Returns whether a verdict of `triage_conversation` holds for the danger of an earlier message."""
    return verdict.level == URGENT and verdict.advice.startswith(get_notice("earlier"))


def _judge(messages: Sequence[str], place: int, region: str | None) -> Verdict:
    """The verdict on a message, alone or else together with the one before it."""
    alone = _triage(messages[place], region)
    if not alone.answerable or place == 0:
        return alone
    before = _triage(messages[place - 1], region)
    together = _triage(f"{messages[place - 1]}\n{messages[place]}", region)
    if together.level in _ALARMS and together.level != before.level:
        return together  # a danger that the message before has not, or one of another kind
    if together.level == HARMFUL and RANK.get(before.level, len(RANK)) >= RANK[HARMFUL]:
        return together  # where the message before was harmful: "and how much of it would that take?"
    return alone


def _recall(dangers: Sequence[Verdict], last: Verdict, region: str | None) -> Verdict:
    """The verdict on a message that is no alarm by itself, after dangers: the last of each level."""
    categories = [name for verdict in (*dangers, last) for name in verdict.categories]
    evidence = [words for verdict in (*dangers, last) for words in verdict.evidence]
    advice = [get_notice("earlier", region), *(verdict.advice for verdict in dangers)]
    if last.level == URGENT:  # not the same danger: what to do about it is told, too
        advice.append(last.advice)
    lines = dict.fromkeys("\n".join(advice).split("\n"))
    return Verdict(
        URGENT, dangers[0].category, tuple(dict.fromkeys(categories)), "\n".join(lines), tuple(dict.fromkeys(evidence))
    )
