"""Faults that are done to real runs, and what came of them."""
