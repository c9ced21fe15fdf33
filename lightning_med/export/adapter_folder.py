"""The folder of an adapter, which peft loads on its base."""

from __future__ import annotations

from pathlib import Path

from lightning_med.export.hf_folder import write_settings
from lightning_med.export.trained_model import TrainedModel
from lightning_med.export.transformers4_names import add_transformers4_names
from lightning_med.export.weight_types import TORCH_TYPES
from lightning_med.utils.console import Progress


def write_adapter_folder(model: TrainedModel, folder: Path, weight_type: str, progress: Progress) -> None:
    """Writes a model's adapter into an empty folder, with the tokenizer and the prompt that it was trained with.

    Args:
        model: Its adapter is cast in place.
        folder: Empty.
        weight_type: `float32`, `float16` or `bfloat16`.
        progress: Is told what is being done.
    """
    assert model.adapter is not None
    progress("adapter", 0, 0)
    for weight in model.network.parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(TORCH_TYPES[weight_type])
    model.adapter.save(str(folder), model.base)
    progress("tokenizer", 0, 0)
    model.tokenizer.save_pretrained(folder)
    add_transformers4_names(folder)
    model.decoding.make_generation_config(model.tokenizer, model.stops).save_pretrained(folder)
    write_settings(model, folder, adapter_base=model.base)
