"""Makes a folder of a base model without the Hugging Face Hub: `lightning-med fetch` under its earlier name.

python scripts/fetch_base.py smollm2 --output bases/smollm2
python scripts/fetch_base.py FILE.gguf --output DIR
"""

from __future__ import annotations

import sys

from lightning_med.cli import command


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 2 for wrong input, 128 + n after signal n."""
    return command.main(["fetch", *argv])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
