"""Contenders that another library trains: Hugging Face's Trainer in two settings, and TRL's SFTTrainer.

Each function returns the trained network and a description of its batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import is_flash_attn_2_available

from training.clock import Clock
from training.padding import pad_rows
from training.rows import Rows, Work
from training.settings import CLIP, Settings

Examples = list[dict[str, Any]]


class Collator:
    """Builds batches and records the work of each.

    The rows are recognized by their token ids, so that a change of the ids by the library is an error.

    Args:
        rows: All rows.
        build: Builds a batch from the numbers of its rows and their examples.
    """

    def __init__(self, rows: Rows, build: Callable[[list[int], Examples], dict[str, Any]]) -> None:
        self.rows, self.build = rows, build
        self.work: list[Work] = []

    def __call__(self, examples: Examples) -> dict[str, Any]:
        pieces = []
        for example in examples:
            ids, lengths = example["input_ids"], example.get("seq_lengths") or [len(example["input_ids"])]
            ends = torch.tensor(lengths).cumsum(0).tolist()
            pieces += [ids[end - length : end] for end, length in zip(ends, lengths, strict=True)]
        numbers = [self.rows.find_row(piece) for piece in pieces]
        self.work.append(self.rows.count_work(numbers))
        return self.build(numbers, examples)


class UpdateCounter(TrainerCallback):
    """Reports each update to the clock; batches are trained in the order in which they were built."""

    def __init__(self, clock: Clock, collator: Collator) -> None:
        self.clock, self.collator = clock, collator

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.clock.count_update(self.collator.work[state.global_step - 1])


def train_notebook(settings: Settings, clock: Clock) -> tuple[PreTrainedModel, str]:
    """Trains as the original notebook does: every row padded to one length, loss on all its tokens."""
    rows = settings.load_rows()
    collator = Collator(rows, lambda numbers, _: pad_rows(rows, numbers, settings.length, all_tokens=True))
    arguments = TrainingArguments(**_make_arguments(settings, settings.batch, remove_unused_columns=False))
    network = _train(Trainer, settings, clock, rows, collator, arguments)
    return network, f"padded to {settings.length}, loss on all"


def train_trainer(settings: Settings, clock: Clock) -> tuple[PreTrainedModel, str]:
    """Trains with the same library: padded to the longest row of a batch, grouped by length, loss on the answer."""
    rows = settings.load_rows()
    collator = Collator(rows, lambda numbers, _: pad_rows(rows, numbers))
    grouped = {"train_sampling_strategy": "group_by_length", "remove_unused_columns": False}
    arguments = TrainingArguments(**_make_arguments(settings, settings.batch, **grouped))
    network = _train(Trainer, settings, clock, rows, collator, arguments)
    return network, "padded to the longest, grouped by length"


def train_trl(settings: Settings, clock: Clock) -> tuple[PreTrainedModel, str]:
    """Trains with TRL in its fastest setting that has the same loss.

    Its output layer computes the logits of the answers alone, in tiles: without Triton, TRL would compute those of all
    positions, and only a processor of fixed shapes needs that. No activations are recomputed. With FlashAttention, rows
    are packed and do not attend to each other; without it, TRL's packed batches need a mask over all their tokens, so
    rows are grouped by length instead. Liger needs a GPU, and its cross-entropy cannot be combined with TRL's own
    output layer.
    """
    import trl.trainer.utils
    from trl import SFTConfig, SFTTrainer
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    trl.trainer.utils._use_triton = lambda device: True  # here it only decides which positions are computed
    rows = settings.load_rows()
    packed = settings.device.type == "cuda" and is_flash_attn_2_available()
    if packed:
        description = "packed (bfd), FlashAttention, loss on the answer"
        batch = max(round(float(rows.lengths.mean()) * settings.batch / settings.length), 1)
        options: dict[str, Any] = {"packing": True, "packing_strategy": "bfd", "max_length": settings.length}
    else:
        description = "padded to the longest, grouped by length, answers' logits alone"
        batch, options = settings.batch, {"max_length": None, "train_sampling_strategy": "group_by_length"}
    build = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=packed)
    collator = Collator(rows, lambda _, examples: build(examples))
    arguments = SFTConfig(**_make_arguments(settings, batch, gradient_checkpointing=False, **options))
    return _train(SFTTrainer, settings, clock, rows, collator, arguments, packed), description


def _make_arguments(settings: Settings, batch: int, **options: Any) -> dict[str, Any]:
    return {
        "output_dir": str(settings.path / "trainer"),
        "max_steps": settings.total,
        "per_device_train_batch_size": batch,
        "max_grad_norm": CLIP,
        "bf16": settings.bf16,
        "use_cpu": settings.device.type == "cpu",
        "dataloader_drop_last": True,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": settings.seed,
        **options,
    }


def _make_dataset(rows: Rows) -> Dataset:
    spans = [slice(start, end) for start, end in zip(rows.starts[:-1], rows.starts[1:], strict=True)]
    columns = {"input_ids": rows.ids, "labels": rows.labels}
    return Dataset.from_dict({name: [values[span] for span in spans] for name, values in columns.items()})


def _train(
    trainer_class: type[Trainer],
    settings: Settings,
    clock: Clock,
    rows: Rows,
    collator: Collator,
    arguments: TrainingArguments,
    flash_attention: bool = False,
) -> PreTrainedModel:
    from transformers import AutoTokenizer

    network = settings.load_network()
    if flash_attention:
        network.set_attn_implementation("flash_attention_2")
    network.to(settings.device)  # type: ignore[arg-type]
    trainer = trainer_class(
        model=network,
        args=arguments,
        train_dataset=_make_dataset(rows),
        processing_class=AutoTokenizer.from_pretrained(settings.path / "tokenizer"),
        optimizers=settings.make_optimizer(network),
        callbacks=[UpdateCounter(clock, collator)],
    )
    trainer.data_collator = collator  # TRL's constructor refuses one if it packs
    trainer.train()
    return network
