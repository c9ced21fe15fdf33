"""Formats of tables: each reader yields the records of a file."""
