"""Names of transformers 4 in a saved folder, beside those of transformers 5, which it does not read.

Other programs of its time read the same names: the converter of llama.cpp, mlx and vLLM.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

TOKENIZER_CLASS = "PreTrainedTokenizerFast"  # both generations know it
_SCALED = ("rope_theta", "partial_rotary_factor")  # entries of `rope_parameters` that never were part of `rope_scaling`
_FACTOR = {"gpt_neox": "rotary_pct"}  # names that differ from those of most families
_BASE = {"gpt_neox": "rotary_emb_base"}


def add_transformers4_names(folder: Path, config: PretrainedConfig | None = None) -> None:
    """Makes a saved tokenizer, and a saved network if there is one, readable for transformers 4 in the same sense.

    transformers 5 names a class of tokenizers that transformers 4 refuses, and keeps the frequencies of rotary
    positions where transformers 4 does not look: it would take 10,000 without a word.

    Args:
        folder: That `save_pretrained` has written; its JSON files are changed in place.
        config: Of the network in it.
    """
    _add_to_json(folder / "tokenizer_config.json", {"tokenizer_class": TOKENIZER_CLASS})
    if config is not None:
        _add_to_json(folder / "config.json", describe_rope(config))


def describe_rope(config: PretrainedConfig) -> dict[str, Any]:
    """Returns the frequencies of rotary positions by their names of transformers 4; empty without such positions.

    Args:
        config: `rope_parameters` may hold one mapping, or one for full and one for sliding attention.
    """
    rope: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    kind, entries = config.model_type, {}
    if local := rope.get("sliding_attention"):
        entries["rope_local_base_freq"] = local.get("rope_theta")
    rope = rope.get("full_attention") or rope
    entries[_BASE.get(kind, "rope_theta")] = rope.get("rope_theta")
    entries[_FACTOR.get(kind, "partial_rotary_factor")] = rope.get("partial_rotary_factor")
    if rope.get("rope_type", "default") != "default":
        entries["rope_scaling"] = {name: value for name, value in rope.items() if name not in _SCALED}
    return {name: value for name, value in entries.items() if value is not None}


def _add_to_json(path: Path, entries: dict[str, Any]) -> None:
    content = {**json.loads(path.read_text(encoding="utf-8")), **entries}
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
