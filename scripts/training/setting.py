"""What all contenders share: the start, precision, optimizer, clock, and how the end is judged."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from lightning_med.data.module import DialogueDataModule
from lightning_med.training.optimizer import make_adamw, make_warmup_cosine
from lightning_med.utils.precision import has_cpu_bf16
from training.rows import IGNORED, Rows, Share

WARM = 2  # updates before the clock starts
CLIP = 1.0  # of the gradient's norm
HELD_BACK = 32  # rows that judge the end
_JUDGED = 4  # of them at once
_WARMUP_FRACTION = 0.05


@dataclass(frozen=True)
class Setting:
    """Of one race; every contender reads the same one from its folder.

    Args:
        folder: Holds the corpus, the cache, the rows' ids and the start's weights.
        data: The corpus.
        tokenizer: A folder.
        updates: Optimizer steps that are timed.
        batch: Consultations an update holds, about.
        length: Tokens a consultation may have; the notebook pads to it, and it is the length of packed blocks.
        system_prompt: Empty for none.
        layers, width, heads: Of the GPT-2 that is trained.
    """

    folder: str
    data: str
    tokenizer: str
    updates: int
    batch: int
    length: int
    system_prompt: str
    layers: int
    width: int
    heads: int
    seed: int = 42
    lr: float = 5e-4
    weight_decay: float = 0.01

    @classmethod
    def load(cls, folder: Path) -> Setting:
        """What `save` wrote."""
        return cls(**json.loads((folder / "setting.json").read_text(encoding="utf-8")))

    def save(self) -> None:
        """Writes it into its folder."""
        (self.path / "setting.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    @property
    def path(self) -> Path:
        return Path(self.folder)

    @property
    def total(self) -> int:
        """Optimizer steps, those before the clock starts among them."""
        return WARM + self.updates

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def bf16(self) -> bool:
        return self.device.type == "cuda" or has_cpu_bf16()

    @property
    def dtype(self) -> torch.dtype:
        """Of the matrix products."""
        return torch.bfloat16 if self.bf16 else torch.float32

    def data_module(self, batch_tokens: int = 8192) -> DialogueDataModule:
        """The rows, cleaned and encoded as `fit` does it, a tenth of them held back."""
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

    def prepare(self) -> None:
        """Encodes the rows and makes the start's weights, once for all."""
        module = self.data_module()
        for split in ("train", "test"):
            Rows.of(module.store(split)).save(self.path / f"{split}.npz")
        tokenizer = module.prepared.tokenizer
        tokenizer.save_pretrained(self.path / "words")
        end = tokenizer.eos_token_id
        torch.manual_seed(self.seed)
        config = GPT2Config(
            vocab_size=len(tokenizer),
            n_layer=self.layers,
            n_embd=self.width,
            n_head=self.heads,
            attn_pdrop=0.0,  # residual and embedding dropout stay at 0.1
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
        )
        disable_progress_bar()
        GPT2LMHeadModel(config).save_pretrained(self.path / "start")

    def rows(self, split: str = "train") -> Rows:
        return Rows.load(self.path / f"{split}.npz")

    def network(self) -> PreTrainedModel:
        """transformers' own, with the start's weights in float32."""
        return AutoModelForCausalLM.from_pretrained(
            self.path / "start", dtype=torch.float32, attn_implementation="sdpa"
        )

    def optimizer(self, network: nn.Module) -> tuple[torch.optim.AdamW, LambdaLR]:
        """The same AdamW and the same course of its rate as ours, fused."""
        optimizer = make_adamw(network, self.lr, self.weight_decay)
        return optimizer, LambdaLR(optimizer, make_warmup_cosine(self.total, _WARMUP_FRACTION))

    def module_settings(self) -> dict[str, Any]:
        """The same for `DialogueLM`."""
        return {"lr": self.lr, "weight_decay": self.weight_decay, "warmup_fraction": _WARMUP_FRACTION}


@dataclass
class Clock:
    """Times the updates after the first `WARM`, and adds up what they held.

    Args:
        setting: Says how many updates there are.
    """

    setting: Setting
    done: int = 0
    share: Share = field(default_factory=Share)
    seconds: float = 0.0
    memory: int | None = None  # the peak on a GPU
    ended_at: float = 0.0
    _since: float = 0.0

    def tick(self, share: Share) -> None:
        """An update with a batch of this share was done."""
        self.done += 1
        if WARM < self.done <= self.setting.total:
            self.share += share
        if self.done in (WARM, self.setting.total):
            cuda = self.setting.device.type == "cuda"
            if cuda:
                torch.cuda.synchronize()
            now = time.perf_counter()
            self.seconds, self._since = now - self._since, now
            self.memory = torch.cuda.max_memory_allocated() if cuda else None
            self.ended_at = time.time()


@torch.inference_mode()
def held_back_loss(network: PreTrainedModel, rows: Rows, device: torch.device) -> float:
    """Mean nats of an answer's token of rows that no contender saw: padded, float32, transformers' forward alone."""
    network.to(device).eval()  # type: ignore[arg-type]
    order = _order(rows)
    total, count = 0.0, 0
    for start in range(0, len(order), _JUDGED):
        batch = padded(rows, order[start : start + _JUDGED])
        labels = batch.pop("labels")[:, 1:].to(device)
        logits = network(**{name: tensor.to(device) for name, tensor in batch.items()}).logits[:, :-1]
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        total, count = total + float(loss), count + int((labels != IGNORED).sum())
    return total / count


def _order(rows: Rows) -> list[int]:
    """The first `HELD_BACK` rows, those of like length together."""
    return sorted(range(min(len(rows), HELD_BACK)), key=lambda row: int(rows.lengths[row]))


def padded(rows: Rows, numbers: list[int], width: int = 0, every: bool = False) -> dict[str, torch.Tensor]:
    """A padded batch.

    Args:
        rows: All of them.
        numbers: Those wanted.
        width: At least so many columns.
        every: Learn all tokens but the padding, not the answers' alone.

    Returns:
        `input_ids`, `attention_mask`, `labels`: `[rows, columns]`, int64. Padded with zeros: nothing sees them.
    """
    width = max(width, int(rows.lengths[numbers].max()))
    ids, mask = torch.zeros(len(numbers), width, dtype=torch.long), torch.zeros(len(numbers), width, dtype=torch.long)
    labels = torch.full((len(numbers), width), IGNORED)
    for line, row in enumerate(numbers):
        span = slice(rows.starts[row], rows.starts[row + 1])
        size = int(rows.lengths[row])
        ids[line, :size] = torch.from_numpy(rows.ids[span])
        labels[line, :size] = torch.from_numpy((rows.ids if every else rows.labels)[span])
        mask[line, :size] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
