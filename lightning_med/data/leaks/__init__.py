"""Finds rows that equal, or nearly equal, rows of other tables, such as public tests."""
