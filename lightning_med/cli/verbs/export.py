"""`lightning-med export`: a checkpoint as a Hugging Face folder, or as a GGUF file for llama.cpp and Ollama."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from lightning_med.cli.output import json_output
from lightning_med.cli.parsing.arguments import Parser
from lightning_med.export.checkpoint_export import export_checkpoint
from lightning_med.export.export_kind import DTYPES, FORMATS, QUANTIZATIONS, ExportKind


def main(argv: list[str]) -> int:
    """`lightning-med export`; returns the exit status."""
    given: argparse.Namespace = make_parser().parse_args(argv[1:])
    kind = ExportKind(given.format, given.dtype, given.quantize, given.adapter)
    with json_output.collect_result(given.json) as result:
        output = export_checkpoint(given.checkpoint, given.output, given.overwrite, kind, given.base)
        _print_next(output, kind)
        result |= {"export": output, "format": kind.format}
    return 0


def make_parser() -> Parser:
    """Returns the parser of `export`."""
    parser = Parser(prog="lightning-med export", description="Turn a checkpoint into a folder that other programs run.")
    parser.add_argument("--checkpoint", required=True, help="a checkpoint, for instance RUN/checkpoints/last.ckpt")
    parser.add_argument("--output", required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export; other files there stay")
    formats = (
        "hf: safetensors and tokenizer for transformers; gguf: model.gguf for llama.cpp, and a Modelfile for Ollama"
    )
    parser.add_argument("--format", choices=FORMATS, default="hf", help=f"{formats} (default: hf)")
    parser.add_argument("--dtype", choices=DTYPES, help="type of the weights (default: float32)")
    parser.add_argument("--quantize", choices=QUANTIZATIONS, help="8 bits a weight, for --format gguf")
    parser.add_argument("--adapter", action="store_true", help="the adapter of a LoRA run alone, for peft, not merged")
    parser.add_argument("--base", metavar="DIR", help="where the base of a LoRA run is now, if it was moved")
    parser.add_argument("--json", action="store_true", help=json_output.HELP)
    return parser


def _print_next(output: Path, kind: ExportKind) -> None:
    """Prints where the export is and the command that uses it."""
    print(f"export: {output}")
    if kind.format == "gguf":
        print(f"next: ollama create lightning-med -f {shlex.quote(str(output / 'Modelfile'))}")
    elif kind.adapter:
        print(f"next: peft.AutoPeftModelForCausalLM.from_pretrained({str(output)!r}) in Python loads it on its base")
    else:
        print(f'next: lightning-med respond --model {output} "My tongue is sore, what can I do?"')
