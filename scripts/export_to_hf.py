"""Exports a checkpoint to a Hugging Face folder, as `lightning-med export` does.

python scripts/export_to_hf.py --checkpoint RUN/checkpoints/last.ckpt --output RUN/export
"""

import sys

from lightning_med.cli.command import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
