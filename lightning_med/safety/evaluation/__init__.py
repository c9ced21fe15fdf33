"""How often triage is right on labelled messages: figures with exact intervals, and what was taken for what."""
