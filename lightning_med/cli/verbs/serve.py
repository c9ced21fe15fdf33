"""`lightning-med serve`: a page to talk to a model, and the OpenAI protocol, on one port."""

from __future__ import annotations


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    raise NotImplementedError
