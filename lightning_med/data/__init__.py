"""A table of consultations -> batches."""
