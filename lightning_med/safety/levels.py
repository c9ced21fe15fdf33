"""Levels of danger of a message, and their order."""

from __future__ import annotations

EMERGENCY, CRISIS, HARMFUL, URGENT, ORDINARY = "emergency", "crisis", "harmful", "urgent", "ordinary"
RANK = {EMERGENCY: 0, CRISIS: 1, HARMFUL: 2, URGENT: 3}  # the most severe first
