"""Contenders that another library trains: Hugging Face's Trainer in two ways, and TRL's SFTTrainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import is_flash_attn_2_available

from training.rows import Rows, Share
from training.setting import CLIP, Clock, Setting, padded

Examples = list[dict[str, Any]]


class Collator:
    """Builds batches and notes what each held; the ids that come are looked up among those that were given out.

    Args:
        rows: All consultations.
        build: Of the row numbers and the examples.
    """

    def __init__(self, rows: Rows, build: Callable[[list[int], Examples], dict[str, Any]]) -> None:
        self.rows, self.build = rows, build
        self.shares: list[Share] = []

    def __call__(self, examples: Examples) -> dict[str, Any]:
        pieces = []
        for example in examples:
            ids, lengths = example["input_ids"], example.get("seq_lengths") or [len(example["input_ids"])]
            ends = torch.tensor(lengths).cumsum(0).tolist()
            pieces += [ids[end - length : end] for end, length in zip(ends, lengths, strict=True)]
        numbers = [self.rows.number(piece) for piece in pieces]
        self.shares.append(self.rows.share(numbers))
        return self.build(numbers, examples)


class Ticks(TrainerCallback):
    """Moves the clock at each update's end; batches are trained in the order in which they were built."""

    def __init__(self, clock: Clock, collator: Collator) -> None:
        self.clock, self.collator = clock, collator

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.clock.tick(self.collator.shares[state.global_step - 1])


def _arguments(setting: Setting, batch: int, **more: Any) -> dict[str, Any]:
    return {
        "output_dir": str(setting.path / "trainer"),
        "max_steps": setting.total,
        "per_device_train_batch_size": batch,
        "max_grad_norm": CLIP,
        "bf16": setting.bf16,
        "use_cpu": setting.device.type == "cpu",
        "dataloader_drop_last": True,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": setting.seed,
        **more,
    }


def _dataset(rows: Rows) -> Dataset:
    spans = [slice(start, end) for start, end in zip(rows.starts[:-1], rows.starts[1:], strict=True)]
    columns = {"input_ids": rows.ids, "labels": rows.labels}
    return Dataset.from_dict({name: [values[span] for span in spans] for name, values in columns.items()})


def notebook(setting: Setting, clock: Clock) -> tuple[PreTrainedModel, str]:
    """The original notebook's way: every row padded to one length, loss on all its tokens."""
    rows = setting.rows()
    collator = Collator(rows, lambda numbers, _: padded(rows, numbers, setting.length, every=True))
    arguments = TrainingArguments(**_arguments(setting, setting.batch, remove_unused_columns=False))
    return _trained(Trainer, setting, clock, rows, collator, arguments), f"padded to {setting.length}, loss on all"


def trainer(setting: Setting, clock: Clock) -> tuple[PreTrainedModel, str]:
    """The same library used well: padded to the longest of the batch, like lengths together, loss on the answer."""
    rows = setting.rows()
    collator = Collator(rows, lambda numbers, _: padded(rows, numbers))
    grouped = {"train_sampling_strategy": "group_by_length", "remove_unused_columns": False}
    arguments = TrainingArguments(**_arguments(setting, setting.batch, **grouped))
    return _trained(Trainer, setting, clock, rows, collator, arguments), "padded to the longest, grouped by length"


def trl(setting: Setting, clock: Clock) -> tuple[PreTrainedModel, str]:
    """TRL in its fastest setting that trains the same loss.

    Its head computes the answers' logits alone, in tiles. Nothing is recomputed. With FlashAttention rows are packed
    and stay apart; without it TRL's packed batches need a mask over all their tokens, so like lengths go together.
    Liger has no layers for GPT-2, and its cross-entropy cannot go with TRL's own head.
    """
    from trl import SFTConfig, SFTTrainer
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    rows = setting.rows()
    packed = setting.device.type == "cuda" and is_flash_attn_2_available()
    if packed:
        way = "packed (bfd), FlashAttention, loss on the answer"
        batch = max(round(float(rows.lengths.mean()) * setting.batch / setting.length), 1)
        more: dict[str, Any] = {"packing": True, "packing_strategy": "bfd", "max_length": setting.length}
    else:
        way = "padded to the longest, grouped by length, answers' logits alone"
        batch, more = setting.batch, {"max_length": None, "train_sampling_strategy": "group_by_length"}
    build = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=packed)
    collator = Collator(rows, lambda _, examples: build(examples))
    arguments = SFTConfig(**_arguments(setting, batch, gradient_checkpointing=False, **more))
    return _trained(SFTTrainer, setting, clock, rows, collator, arguments, packed), way


def _trained(
    kind: type[Trainer],
    setting: Setting,
    clock: Clock,
    rows: Rows,
    collator: Collator,
    arguments: TrainingArguments,
    flash: bool = False,
) -> PreTrainedModel:
    from transformers import AutoTokenizer

    network = setting.network()
    if flash:
        network.set_attn_implementation("flash_attention_2")
    network.to(setting.device)  # type: ignore[arg-type]
    trainer = kind(
        model=network,
        args=arguments,
        train_dataset=_dataset(rows),
        processing_class=AutoTokenizer.from_pretrained(setting.path / "words"),
        optimizers=setting.optimizer(network),
        callbacks=[Ticks(clock, collator)],
    )
    trainer.data_collator = collator  # TRL refuses one at the start where it packs
    trainer.train()
    return network
