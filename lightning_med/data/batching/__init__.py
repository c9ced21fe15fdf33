"""From tokens on disk to batches: plan, collate, resume."""
