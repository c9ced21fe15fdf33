"""Indicators of manner: what an answer does, by patterns, and how often these patterns are right."""
