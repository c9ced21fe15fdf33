"""Parsers of the command: what is given, and what is wrong with it in two lines. Imports nothing heavy itself."""
