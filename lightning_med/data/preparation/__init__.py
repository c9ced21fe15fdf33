"""Turns table files into cleaned rows, and cleaned rows into tokens on disk."""
