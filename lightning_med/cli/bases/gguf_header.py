"""What a GGUF file says about its model, and what of it transformers would leave out without a word."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_med.utils.errors import InputError, UnavailableError

_TEXTS = ("general.architecture", "general.name", "general.license", "tokenizer.ggml.model", "tokenizer.ggml.pre")


@dataclass(frozen=True)
class Header:
    """The metadata of a GGUF file, texts and numbers only, and the names of its tensors."""

    fields: dict[str, Any]
    tensors: tuple[str, ...]

    @property
    def architecture(self) -> str:
        return str(self.fields.get("general.architecture", "unknown"))

    def get(self, name: str) -> str:
        """Returns a text of the metadata, or an empty one."""
        return str(self.fields.get(name, ""))


def read_header(path: Path) -> Header:
    """Reads a GGUF file's header.

    Raises:
        InputError: There is no such file, it is no GGUF file, or it is damaged.
    """
    from gguf import GGUFReader

    if not path.is_file():
        raise UnavailableError(f"{path}: no such file.", "Give a GGUF file, or smollm2 to download one.")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise InputError(f"{path} is not a GGUF file.", "Its first four bytes would be GGUF.")
    try:
        reader = GGUFReader(path)
        fields = {
            name: field.contents()
            for name, field in reader.fields.items()
            if len(field.data) == 1 or name in _TEXTS  # arrays are slow to read and not needed here
        }
        return Header(fields, tuple(str(tensor.name) for tensor in reader.tensors))
    except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError, RuntimeError, OSError) as error:
        raise InputError(f"{path} cannot be read as GGUF: {error}.", "Get the file again.") from error


def check_header(header: Header, path: Path) -> None:
    """Refuses a model whose positions transformers would compute otherwise.

    Raises:
        InputError: The rotation of positions is scaled, which transformers reads for gpt-oss alone.
    """
    kind = header.get(f"{header.architecture}.rope.scaling.type")
    scaled = kind not in ("", "none") and header.architecture != "gpt-oss"
    if scaled or any(name.startswith("rope_f") or name.startswith("rope_factors") for name in header.tensors):
        raise InputError(
            f"{path}: its positions are scaled ({kind or 'rope_freqs'}), which transformers does not read from GGUF.",
            "Get the model as a folder with config.json and safetensors.",
        )
