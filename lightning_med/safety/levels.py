"""Levels of danger of a message, and their order."""

from __future__ import annotations

EMERGENCY, CRISIS, HARMFUL, URGENT, ORDINARY = "emergency", "crisis", "harmful", "urgent", "ordinary"
HINT = "hint"  # of a rule that leaves the decision to the classifier; not a level of a verdict
RANK = {EMERGENCY: 0, CRISIS: 1, HARMFUL: 2, URGENT: 3, HINT: 4}  # the most severe first
