"""What an export is: its format and the type of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_med.utils.errors import InputError

if TYPE_CHECKING:
    from lightning_med.export.trained_model import TrainedModel

FORMATS = ("hf", "gguf")
DTYPES = ("float32", "float16", "bfloat16")
QUANTIZATIONS = ("q8_0",)
_BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "q8_0": 34 / 32}  # of a weight; q8_0: 32 weights and a scale


@dataclass(frozen=True)
class ExportKind:
    """The format of an export and the type of its weights.

    Args:
        format: `hf` for a Hugging Face folder, `gguf` for one file and a Modelfile.
        dtype: One of `DTYPES`; default: `float32`.
        quantize: One of `QUANTIZATIONS` in the place of a dtype; for `gguf` alone.
        adapter: The adapter alone, as a folder of peft.

    Raises:
        InputError: One is unknown, or they exclude each other.
    """

    format: str = "hf"
    dtype: str | None = None
    quantize: str | None = None
    adapter: bool = False

    def __post_init__(self) -> None:
        known = {"format": FORMATS, "dtype": (*DTYPES, None), "quantize": (*QUANTIZATIONS, None)}
        for name, values in known.items():
            if (value := getattr(self, name)) not in values:
                choices = ", ".join(filter(None, values))
                raise InputError(f"--{name} {value} is not known.", f"Known: {choices}.")
        if self.quantize and self.format != "gguf":
            raise InputError(
                f"--quantize {self.quantize} is for --format gguf alone.", "Add it, or leave --quantize out."
            )
        if self.adapter and self.format != "hf":
            raise InputError(
                "--adapter is a folder of peft, not a GGUF file.", "Leave one out: without --adapter it is merged."
            )
        if self.quantize and self.dtype:
            raise InputError(
                f"--quantize {self.quantize} and --dtype {self.dtype} both say how the weights are stored.",
                "Give one of them.",
            )

    @property
    def weight_type(self) -> str:
        """The type of the weights' matrices."""
        return self.quantize or self.dtype or "float32"

    def count_bytes(self, weights: int) -> int:
        """Returns about how many bytes so many weights take."""
        return int(weights * _BYTES[self.weight_type])

    def check(self, model: TrainedModel) -> None:
        """Checks, before anything is written, that a model can be exported so.

        Raises:
            InputError: A weight is too large for the type, transformers would load another tokenizer, or llama.cpp has
                no such network or tokenizer.
        """
        from lightning_med.export.weight_types import check_overflow

        check_overflow(model.network, self.weight_type, only_trainable=self.adapter)
        if self.adapter and (model.card["settings"].get("data", {}).get("add_tokens")):
            raise InputError(
                "--adapter: tokens were added, and peft loads an adapter only on a base of its own size.",
                "Leave --adapter out: the merged model has them.",
            )
        if self.format == "gguf":
            from lightning_med.export.gguf.folder import check_gguf

            check_gguf(model)
        else:
            from lightning_med.export.hf_folder import check_reloading

            check_reloading(model.tokenizer, None if self.adapter else model.network.config)
