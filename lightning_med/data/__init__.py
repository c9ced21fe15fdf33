"""Turns a table of consultations into batches."""
