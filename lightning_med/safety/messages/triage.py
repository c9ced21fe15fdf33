"""`triage`: the verdict on a message, before any model is asked.

Rules of explicit words alarm alone; a sentence encoder reads the message as a whole, and the level whose mistakes are
expected to cost least is taken. Not a medical device: it misses dangers and alarms at harmless messages;
docs/safety.md says how often.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lightning_med.safety.levels import CRISIS, EMERGENCY, HARMFUL, ORDINARY, RANK, URGENT
from lightning_med.safety.messages.advice import compose_advice
from lightning_med.safety.messages.danger_rules import Rulebook, load_rulebook
from lightning_med.safety.messages.encoder.classifier import Reading, load_classifier
from lightning_med.safety.messages.encoder.decision import DANGER, decide, get_costs, sum_by_level
from lightning_med.safety.messages.language import is_english
from lightning_med.safety.messages.parsed_message import parse_message
from lightning_med.safety.messages.rule_matches import RuleMatches, match_rules
from lightning_med.utils.errors import check_text

NOT_ENGLISH = "not_english"  # the category of a message in another language
SEE_SOON = "see_soon"  # the category of an urgent message
_LEAST_SHARE = 0.5  # of a level's probability, from which its likeliest category is named
_ALSO = 0.1  # the probability from which a message that alarms has a second danger too


@dataclass(frozen=True)
class Verdict:
    """The safety verdict on a message.

    Attributes:
        level: `emergency`, `crisis` and `harmful` get fixed advice and no model; `urgent` is answered under a notice
            that says when to seek care; `ordinary` is answered.
        category: The first of the categories; empty if the level is ordinary, the level's name where no kind of danger
            stands out, `see_soon` if it is urgent.
        categories: All categories that were found, the most severe first.
        advice: The text to show; empty if the level is ordinary.
        evidence: The words of the message that are the reason, in lower case; maybe none.
    """

    level: str
    category: str = ""
    categories: tuple[str, ...] = ()
    advice: str = ""
    evidence: tuple[str, ...] = ()

    @property
    def answerable(self) -> bool:
        """Whether a model may answer."""
        return self.level in (URGENT, ORDINARY)


def triage(text: str, region: str | None = None) -> Verdict:
    """Returns the safety verdict on a message in English.

    Args:
        text: The message.
        region: The country whose emergency numbers the advice names, for instance `GB`; default: that of the locale,
            see `resolve_region`. `UNKNOWN_REGION` makes the verdict independent of the machine.

    Raises:
        InputError: The message is not text, or a cost of the environment is no cost.
    """
    return judge(text, load_classifier().read, region)


def judge(text: str, read: Callable[[str], Reading], region: str | None = None) -> Verdict:
    """Returns the verdict of `triage`, with any classifier.

    Args:
        text: The message.
        read: Of the classifier; asked only if the message is English.
        region: See `triage`.

    Raises:
        InputError: See `triage`.
    """
    check_text("The message", text)
    rules = load_rulebook()
    message = parse_message(text, rules)
    matches = match_rules(message, rules)
    if is_english(text, message.words):
        _add_reading(matches, read(text), rules)
    elif not _list_levels(matches) & {EMERGENCY, CRISIS}:
        matches[NOT_ENGLISH] = (URGENT, ())  # the classifier's output is chance in another language
    return _make_verdict(matches, region)


def _add_reading(matches: RuleMatches, reading: Reading, rules: Rulebook) -> None:
    """Adds what the classifier finds to what the rules found; it never lowers a level."""
    levels = {name: category.level for name, category in rules.categories.items()}
    sums = sum_by_level(reading.probabilities, levels)
    danger = sums[EMERGENCY] + sums[CRISIS]
    found, refused = decide(danger, reading.probabilities[URGENT], sums[HARMFUL], get_costs())
    if found == DANGER:
        first, second = sorted((EMERGENCY, CRISIS), key=lambda level: -sums[level])
        _raise_level(matches, first, reading, levels)
        if sums[second] > _ALSO:  # both: the person gets both pieces of advice
            _raise_level(matches, second, reading, levels)
    elif found == URGENT:
        matches[SEE_SOON] = (URGENT, reading.find_evidence(URGENT))
    if refused:
        _raise_level(matches, HARMFUL, reading, levels)


def _raise_level(matches: RuleMatches, level: str, reading: Reading, levels: dict[str, str]) -> None:
    if level in _list_levels(matches):
        return
    own = {name: reading.probabilities[name] for name in levels if levels[name] == level}
    name = max(own, key=own.__getitem__)
    evidence = reading.find_evidence(name)
    # Of a kind that is a mere guess no first aid is told: the level's general advice alone.
    matches[name if own[name] > _LEAST_SHARE * sum(own.values()) else level] = (level, evidence)


def _list_levels(matches: RuleMatches) -> set[str]:
    return {level for level, _ in matches.values()}


def _make_verdict(matches: RuleMatches, region: str | None) -> Verdict:
    if not matches:
        return Verdict(ORDINARY)
    names = sorted(matches, key=lambda name: RANK[matches[name][0]])
    level = matches[names[0]][0]
    # Urgent advice is kept below a refusal, but would only repeat the advice of an alarm.
    kept = [name for name in names if matches[name][0] != URGENT or level in (URGENT, HARMFUL)]
    evidence = tuple(dict.fromkeys(words for name in kept for words in matches[name][1]))
    advice = compose_advice([(name, matches[name][0]) for name in kept], region, evidence)
    return Verdict(level, kept[0], tuple(kept), advice, evidence)
