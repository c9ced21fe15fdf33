"""A task for lm-evaluation-harness: how likely an exported model finds the reference answers."""
