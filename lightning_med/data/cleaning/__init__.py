"""Cleans the text of rows, rule by rule."""
