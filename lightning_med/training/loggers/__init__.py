"""Loggers of a run: the files in its folder, and trackers of experiments."""
