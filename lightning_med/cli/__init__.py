"""The command `lightning-med`."""

from lightning_med.cli.command import main

__all__ = ["main"]
