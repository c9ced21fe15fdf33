"""Engines: networks that write many answers side by side, and take new questions while they write."""
