"""`python -m lightning_med` is `lightning-med`."""

import sys

from lightning_med.cli.command import main

if __name__ == "__main__":
    sys.exit(main())
