"""Takes a prefix off the names of a model's weights, for instance the `_orig_mod.` that torch.compile puts there.

    python scripts/strip_prefix.py IN OUT --prefix _orig_mod.

OUT is a copy of the folder IN whose safetensors name each weight without the prefix. The weights themselves are copied
byte for byte, a block at a time. A prefix that begins with `_` is a wrapper's and is taken out wherever it stands in a
name. OUT appears only if config.json and the new names fit each other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.console import Progress, say, show_progress
from lightning_med.utils.errors import InputError, describe_error
from lightning_med.utils.files import make_temporary_folder, sync_files
from lightning_med.utils.signals import Interrupted, raise_on_signals

_BLOCK = 1 << 24  # bytes copied at once
_INDEX = ".safetensors.index.json"
_LEFT_OUT = ("*.bin", "*.pt", "*.pth", ".git", ".cache")  # weights in pickles have the old names


def strip_name(name: str, prefix: str) -> str:
    """Returns a weight's name without the prefix."""
    if prefix.startswith("_"):
        return f".{name}".replace(f".{prefix}", ".")[1:]
    return name.removeprefix(prefix)


def strip_file(path: Path, target: Path, prefix: str, progress: Progress) -> int:
    """Writes a copy of a safetensors file with other names in its header.

    Args:
        path: Of the file.
        target: Of the copy.
        prefix: What is taken off.
        progress: Called with the bytes that have been copied.

    Returns:
        How many names changed.

    Raises:
        InputError: The file is no whole safetensors file, or two weights would have one name.
    """
    try:
        with safe_open(path, "np") as file:  # checks the header against the file's size
            names: list[str] = list(file.keys())
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read: {describe_error(error)}", "Get the file again.") from error
    renamed = {name: strip_name(name, prefix) for name in names}
    if len(set(renamed.values())) < len(names):
        raise InputError(f"{path}: without {prefix!r} two weights have the same name.", "Name another --prefix.")
    total = path.stat().st_size
    with path.open("rb") as source, target.open("wb") as copy:
        (length,) = struct.unpack("<Q", source.read(8))
        header: dict[str, Any] = json.loads(source.read(length))
        text = json.dumps({renamed.get(name, name): entry for name, entry in header.items()}).encode()
        text += b" " * (-len(text) % 8)  # as the format asks for
        copy.write(struct.pack("<Q", len(text)) + text)
        while block := source.read(_BLOCK):
            copy.write(block)
            progress(path.name, source.tell(), total)
    return sum(name != new for name, new in renamed.items())


def strip_folder(folder: Path, output: Path, prefix: str) -> int:
    """Makes the copy of a model's folder, complete or not at all; returns how many names changed.

    Raises:
        InputError: No name has the prefix, or the new names do not fit config.json.
    """
    files = sorted(folder.glob("*.safetensors"))
    temporary = make_temporary_folder(output)
    try:
        left_out = shutil.ignore_patterns(*_LEFT_OUT, "*.safetensors", f"*{_INDEX}")
        shutil.copytree(folder, temporary, ignore=left_out, dirs_exist_ok=True)
        with show_progress("Copying") as progress:
            changed = sum(strip_file(file, temporary / file.name, prefix, progress) for file in files)
        if not changed:
            raise InputError(
                f"No weight in {folder} has a name with {prefix!r}.", "Look at the names, or leave it as it is."
            )
        for path in folder.glob(f"*{_INDEX}"):
            index = json.loads(path.read_text(encoding="utf-8"))
            index["weight_map"] = {strip_name(name, prefix): file for name, file in index["weight_map"].items()}
            (temporary / path.name).write_text(json.dumps(index, indent=2), encoding="utf-8")
        _check_names(temporary, f"{folder} without {prefix!r}")
        sync_files(temporary)
        os.replace(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return changed


def _check_names(folder: Path, name: str) -> None:
    """Refuses names that do not fit config.json, by loading the weights."""
    from lightning_med.model.weight_files import load_weights  # loads torch and transformers
    from lightning_med.utils.hub import explain_hub_errors

    try:
        with explain_hub_errors(str(folder), "IN"):
            load_weights(folder, name)
    except InputError as error:
        raise InputError(error.what, "Look at the names; another --prefix may fit.") from error


def parse_options(argv: list[str]) -> argparse.Namespace:
    """Parses and checks the options.

    Raises:
        InputError: One of them is wrong.
    """
    parser = Parser("strip_prefix", "Take a prefix off the names of a model's weights.")
    parser.add_argument("folder", type=Path, metavar="IN", help="a folder with config.json and safetensors")
    parser.add_argument("output", type=Path, metavar="OUT", help="the folder to make")
    parser.add_argument("--prefix", required=True, metavar="PREFIX", help="with its dot, for instance _orig_mod.")
    options = parser.parse_args(argv)
    if not (options.folder / "config.json").is_file() or not any(options.folder.glob("*.safetensors")):
        raise InputError(f"{options.folder} has no config.json with safetensors.", "Name the folder of a model.")
    if options.output.exists():
        raise InputError(f"{options.output} exists.", "Name another folder, or remove it.")
    parent = options.output.absolute().parent
    if not os.access(parent, os.W_OK) or options.folder.resolve() in (parent.resolve(), *parent.resolve().parents):
        raise InputError(
            f"{options.output} cannot be made there.", f"Name a folder that can be written, outside {options.folder}."
        )
    if len(options.prefix) < 2 or not options.prefix.endswith("."):
        raise InputError(f"--prefix {options.prefix!r} does not end in a dot.", "For instance --prefix _orig_mod.")
    return options


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status: 2 for wrong input, 128 + n after signal n."""
    try:
        options = parse_options(argv)
        with raise_on_signals():
            changed = strip_folder(options.folder, options.output, options.prefix)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except Interrupted as signal:
        print(f"strip_prefix: stopped by {signal}; nothing is left behind.", file=sys.stderr)
        return signal.code
    say(f"{options.output}: {changed} weights renamed; use it with --model.base {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
