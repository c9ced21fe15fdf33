"""From a table of consultations to batches."""
