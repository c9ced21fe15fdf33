"""Answers that know little or nothing of the question: what a model must beat before it counts as an improvement."""
