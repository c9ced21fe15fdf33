"""`triage`: the verdict on a message, before any model is asked.

Rules decide, together with a linear classifier, which can raise a level and never lower one. Not a medical device: it
misses some dangers and alarms at some harmless messages; docs/safety.md says how often.
"""

from __future__ import annotations

from dataclasses import dataclass

from lightning_med.safety.levels import CRISIS, EMERGENCY, HARMFUL, HINT, ORDINARY, RANK, URGENT
from lightning_med.safety.messages.advice import compose_advice
from lightning_med.safety.messages.classifier import load_classifier
from lightning_med.safety.messages.classifier_features import extract_features
from lightning_med.safety.messages.danger_rules import Rulebook, load_rulebook
from lightning_med.safety.messages.language import is_english
from lightning_med.safety.messages.parsed_message import ParsedMessage, parse_message
from lightning_med.safety.messages.rule_matches import RuleMatches, match_rules
from lightning_med.utils.errors import check_text

NOT_ENGLISH = "not_english"  # the category of a message in another language


@dataclass(frozen=True)
class Verdict:
    """The safety verdict on a message.

    Attributes:
        level: `emergency`, `crisis` and `harmful` get fixed advice and no model; `urgent` is answered below a notice
            that says when to seek care; `ordinary` is answered.
        category: The first of the categories; empty if the level is ordinary.
        categories: All categories that were found, the most severe first.
        advice: The text to show; empty if the level is ordinary.
        evidence: The words that decided, normalized.
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
        InputError: The message is not text.
    """
    check_text("The message", text)
    rules = load_rulebook()
    message = parse_message(text, rules)
    by_rule = match_rules(message, rules)
    matches = dict(by_rule)
    _apply_classifier(matches, message, rules)
    if not _list_levels(matches) & {EMERGENCY, CRISIS} and not is_english(text, message.words):
        matches = {**by_rule, NOT_ENGLISH: (URGENT, ())}  # the classifier's output is chance in another language
    return _make_verdict({name: match for name, match in matches.items() if match[0] != HINT}, region)


def _apply_classifier(matches: RuleMatches, message: ParsedMessage, rules: Rulebook) -> None:
    """Adds to the matches what the classifier finds; it never lowers a level."""
    model = load_classifier()
    probabilities = model.compute_probabilities(extract_features(message, matches))
    by_level = {
        level: {
            name: probabilities.get(name, 0.0) for name, category in rules.categories.items() if category.level == level
        }
        for level in (EMERGENCY, CRISIS, HARMFUL)
    }
    total = {level: sum(by_category.values()) for level, by_category in by_level.items()}

    def raise_level(by_category: dict[str, float], level: str) -> None:
        name = max(by_category, key=by_category.__getitem__)
        if name not in matches or RANK[level] < RANK[matches[name][0]]:
            matches[name] = (level, tuple(model.find_evidence(message, name)))

    for level in (EMERGENCY, CRISIS):  # each alone, so that a message that is both gets both pieces of advice
        if total[level] > model.limits["alarm"] and level not in _list_levels(matches):
            raise_level(by_level[level], level)
    if not _list_levels(matches) & {EMERGENCY, CRISIS}:
        dangers = {**by_level[EMERGENCY], **by_level[CRISIS]}
        danger = sum(dangers.values())
        if danger > model.limits["alarm"]:
            level = max((EMERGENCY, CRISIS), key=total.__getitem__)
            raise_level(by_level[level], level)
        elif danger + probabilities[URGENT] > model.limits["urgent"]:
            raise_level(dangers, URGENT)
    if total[HARMFUL] > model.limits["harmful"] and HARMFUL not in _list_levels(matches):
        raise_level(by_level[HARMFUL], HARMFUL)


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
    advice = compose_advice([(name, matches[name][0]) for name in kept], region)
    return Verdict(level, kept[0], tuple(kept), advice, evidence)
