"""The sentence encoder of triage, its evidence, and the decision by costs."""
