"""Settings that all contenders share: data, initial weights, precision and optimizer."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import AutoModelForCausalLM, PreTrainedModel

from lightning_med.data.module import DialogueDataModule
from lightning_med.training.optimization.optimizer import make_adamw, make_warmup_cosine
from lightning_med.utils.precision import has_cpu_bf16
from training.networks import save_network
from training.rows import Rows

WARM_UP = 2  # untimed updates at the start
CLIP = 1.0  # maximal norm of the gradient
_WARMUP_FRACTION = 0.05


@dataclass(frozen=True)
class Settings:
    """Settings of one benchmark; every contender loads them from the same folder.

    Args:
        folder: Holds the corpus, the cache, the token ids and the initial weights.
        data: Path of the corpus.
        tokenizer: Folder of the tokenizer.
        updates: Optimizer steps that are timed.
        batch: Consultations of an update, approximately.
        length: Tokens of a consultation at most. The notebook pads to it; packed blocks have this length.
        system_prompt: Empty for none.
        base: Folder of the network that is trained; `None` for one of `fields`.
        fields: Of its configuration; see `training.networks.make_fields`.
        seed: Of the initial weights, the order of the rows and dropout.
        lr: Maximal learning rate.
        weight_decay: Of AdamW.
    """

    folder: str
    data: str
    tokenizer: str
    updates: int
    batch: int
    length: int
    system_prompt: str
    base: str | None
    fields: dict[str, Any]
    seed: int = 42
    lr: float = 5e-4
    weight_decay: float = 0.01

    @classmethod
    def load(cls, folder: Path) -> Settings:
        """Reads what `save` wrote."""
        return cls(**json.loads((folder / "settings.json").read_text(encoding="utf-8")))

    def save(self) -> None:
        """Writes the settings into their folder."""
        (self.path / "settings.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    @property
    def path(self) -> Path:
        return Path(self.folder)

    @property
    def total(self) -> int:
        """Optimizer steps, those before the clock starts included."""
        return WARM_UP + self.updates

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def bf16(self) -> bool:
        return self.device.type == "cuda" or has_cpu_bf16()

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the matrix products."""
        return torch.bfloat16 if self.bf16 else torch.float32

    def make_data_module(self, batch_tokens: int = 8192) -> DialogueDataModule:
        """Returns the data module of `fit`; a tenth of the rows are held back for the test split."""
        return DialogueDataModule(
            self.data,
            tokenizer=self.tokenizer,
            system_prompt=self.system_prompt,
            max_length=self.length,
            eval_max_length=self.length,
            val_fraction=0.0,
            batch_tokens=max(batch_tokens, self.length),
            seed=self.seed,
            cache_dir=str(self.path / "cache"),
        )

    def prepare(self) -> dict[str, Any]:
        """Encodes the rows and saves the initial network, once for all contenders; returns the network's shape."""
        data = self.make_data_module()
        for split in ("train", "test"):
            Rows.from_store(data.store(split)).save(self.path / f"{split}.npz")
        tokenizer = data.prepared.tokenizer
        tokenizer.save_pretrained(self.path / "tokenizer")
        return save_network(self.path / "start", self.base, self.fields, tokenizer, self.seed)

    def load_rows(self, split: str = "train") -> Rows:
        return Rows.load(self.path / f"{split}.npz")

    def load_network(self) -> PreTrainedModel:
        """Returns the network as transformers runs it by default, with the initial weights in float32."""
        return AutoModelForCausalLM.from_pretrained(self.path / "start", dtype=torch.float32)

    def make_optimizer(self, network: nn.Module) -> tuple[torch.optim.AdamW, LambdaLR]:
        """Returns the fused AdamW and the learning-rate schedule that `fit` uses."""
        optimizer = make_adamw(network, self.lr, self.weight_decay)
        return optimizer, LambdaLR(optimizer, make_warmup_cosine(self.total, _WARMUP_FRACTION))

    def get_module_settings(self) -> dict[str, Any]:
        """Returns the same optimizer settings for `DialogueLM`."""
        return {"lr": self.lr, "weight_decay": self.weight_decay, "warmup_fraction": _WARMUP_FRACTION}
