"""Generates answers with a network."""
