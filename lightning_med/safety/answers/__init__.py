"""Checks on what a model writes: `guard`."""
