"""Metrics of answers as text: overlap with the references, similarity, form, and flags for degenerate answers."""
