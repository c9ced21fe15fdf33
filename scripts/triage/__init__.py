"""Training and evaluation of triage."""
