"""Turns tokens on disk into batches: planning, collating, resuming."""
