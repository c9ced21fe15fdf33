"""Checks on what a person writes: `triage`."""
