"""`lightning-med export`: a checkpoint as a Hugging Face folder."""

from __future__ import annotations

import argparse

from lightning_med.cli.arguments import Parser
from lightning_med.export.hf_folder import export_checkpoint


def main(argv: list[str]) -> int:
    """`lightning-med export`; returns the exit status."""
    parser = Parser(prog="lightning-med export", description="Turn a checkpoint into a Hugging Face folder.")
    parser.add_argument("--checkpoint", required=True, help="a checkpoint, for instance RUN/checkpoints/last.ckpt")
    parser.add_argument("--output", required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it is there")
    given: argparse.Namespace = parser.parse_args(argv[1:])
    output = export_checkpoint(given.checkpoint, given.output, overwrite=given.overwrite)
    print(f"export: {output}")
    print(f'next: lightning-med respond --model {output} "My tongue is sore, what can I do?"')
    return 0
