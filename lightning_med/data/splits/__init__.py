"""Splits rows into training, validation and test, without leaks between them."""
