"""The settings of a first config, each with a comment on what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning_med.cli.first_config.base_choice import Base
from lightning_med.cli.first_config.data_choice import SAMPLE, Data
from lightning_med.cli.first_config.machine import CLUSTER, CPU, GPU, Machine
from lightning_med.cli.first_config.training_kind import Training, choose_rate

_SMALL = {"n_layer": 3, "n_embd": 256, "n_head": 4, "n_positions": 512, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
_MIDDLE = {"n_layer": 8, "n_embd": 512, "n_head": 8, "n_positions": 1024, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
_COPY_OF_CHATDOCTOR = "kaggle:divyanshu2000/doctor-healthcare-100k"


@dataclass(frozen=True)
class Setting:
    """One line of a config."""

    name: str
    value: Any
    comment: str = ""


Sections = dict[str, list[Setting]]


def make_sections(data: Data, base: Base, machine: Machine, training: Training) -> Sections:
    """Returns the settings by section, in the order in which they are written."""
    return {
        "trainer": _make_trainer(base, machine),
        "data": _make_data(data, base, machine),
        "model": _make_model(base, machine, training),
        "checkpoint": _make_checkpoint(machine),
        "samples": _make_samples(machine),
    }


def _make_trainer(base: Base, machine: Machine) -> list[Setting]:
    epochs = Setting(
        "max_epochs", 3, "each costs the same time; validation perplexity shows whether the last one helped"
    )
    rate = Setting("callbacks", [_callback("LearningRateMonitor", logging_interval="step")])
    if machine.kind == CPU:
        from lightning_med.utils.precision import find_precision  # here, as it imports torch

        steps = "at most, of 2,048 tokens: with SmolLM2 on two cores about an hour. Of a small table an epoch has fewer"
        return [
            Setting("accelerator", "cpu"),
            Setting("precision", find_precision("16-mixed", "cpu"), "of bf16-mixed and 32-true the faster on this CPU"),
            Setting("max_epochs", 2 if base.name is None else 1, "each costs the same time"),
            Setting("max_steps", 1000, steps),
            Setting("limit_val_batches", 20, "a validation then costs as much as some ten steps"),
            Setting("log_every_n_steps", 5),
            rate,
        ]
    if machine.kind == CLUSTER:
        return [
            Setting("accelerator", "gpu"),
            Setting("devices", 8, "of each node"),
            Setting("num_nodes", 1),
            Setting(
                "strategy", "ddp", "all weights on every GPU; `sharded` if they do not fit on one, without an adapter"
            ),
            Setting("precision", "bf16-mixed", "as fast as 16-mixed from Ampere on, and needs no loss scaling"),
            epochs,
            Setting("log_every_n_steps", 10),
            rate,
        ]
    stop = _callback("EarlyStopping", monitor="val/perplexity", mode="min", patience=2)
    return [
        Setting("accelerator", "gpu"),
        Setting("precision", "16-mixed", "from Ampere on, bf16-mixed is as fast and needs no loss scaling"),
        epochs,
        Setting("val_check_interval", 0.5, "twice an epoch; two validations without a better perplexity end the run"),
        Setting("log_every_n_steps", 10),
        Setting("callbacks", [*rate.value, stop]),
    ]


def _make_data(data: Data, base: Base, machine: Machine) -> list[Setting]:
    unseen = "" if data.header is not None or data.source == SAMPLE else "not looked at: name yours if it is another"
    settings = [Setting("source", data.source)]
    settings += [Setting(name, column, unseen) for name, column in data.columns.items()]
    if base.name is None:
        size = 4096 if machine.kind == CPU else 16_384
        train = "a byte-level BPE, trained on the training split"
        settings += [
            Setting("tokenizer", "train", train),
            Setting("vocab_size", size, "the output layer costs time with it"),
        ]
    else:
        settings.append(Setting("tokenizer", base.name, "the base's own"))
    length = min(512, base.context or 512)
    cut = "tokens; a longer question is cut first, then the answer"
    settings.append(Setting("max_length", length, cut))
    if data.source == _COPY_OF_CHATDOCTOR:
        rules = "drops answers in which “Chat Doctor” ate words, or that stop in mid-sentence: models repeat both"
        settings.append(Setting("rules", {"lost_words": True, "cut_answer": True}, rules))
    return settings + _make_batches(machine)


def _make_batches(machine: Machine) -> list[Setting]:
    if machine.kind == CPU:
        tokens = "memory grows with it; 1024 takes a gigabyte less with SmolLM2"
        step = "tokens of an optimizer step, however many fit at once"
        return [Setting("batch_tokens", 2048, tokens), Setting("tokens_per_step", 2048, step), Setting("seed", 42)]
    step_tokens, workers = (65_536, 4) if machine.kind == CLUSTER else (8192, 2)
    whole = "over all GPUs: what is learned does not depend on their number" if machine.kind == CLUSTER else ""
    return [
        Setting("batch_tokens", "auto", "measured once, some seconds, then fixed for the run"),
        Setting(
            "tokens_per_step", step_tokens, whole or "of an optimizer step: what is learned does not depend on the GPU"
        ),
        Setting("num_workers", workers, "processes that build batches"),
        Setting("seed", 42),
    ]


def _make_model(base: Base, machine: Machine, training: Training) -> list[Setting]:
    settings = [Setting("base", base.name)]
    if base.name is None:
        network = _SMALL if machine.kind == CPU else _MIDDLE
        known = "random weights: it learns phrases, and knows nothing of medicine beyond the table"
        settings.append(Setting("from_scratch", network, known))
    if training.lora:
        settings.append(
            Setting(
                "lora",
                {"r": 16, "alpha": 32},
                "an adapter; to train all weights, remove it and take a tenth of lr",
            )
        )
    rate = "an adapter's" if training.lora else "of random weights" if base.name is None else "of all weights"
    settings.append(Setting("lr", choose_rate(base, training.lora), f"{rate}; half of it where the loss jumps"))
    if training.checkpointing:
        settings.append(Setting("gradient_checkpointing", True, "halves the memory, and takes a third more time"))
    settings.append(Setting("warmup_fraction", 0.1 if machine.kind == CPU else 0.05, "of the steps"))
    settings.append(Setting("max_new_tokens", 200, "longest answer, in tokens; the export keeps it"))
    return settings


def _make_checkpoint(machine: Machine) -> list[Setting]:
    steps = {CPU: 100, GPU: 500, CLUSTER: 200}[machine.kind]
    return [Setting("every_n_train_steps", steps, "steps that a crash can cost at most"), Setting("keep", 2)]


def _make_samples(machine: Machine) -> list[Setting]:
    if machine.kind != CPU:
        return [Setting("questions", 4, "that each validation answers"), Setting("max_new_tokens", 128)]
    return [
        Setting("questions", 2, "that each validation answers; 0 answers none"),
        Setting("max_new_tokens", 64),
        Setting("counted", 0, "answers in which doses and diagnoses are counted; 32 take minutes on a processor"),
    ]


def _callback(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"lightning.pytorch.callbacks.{name}", "init_args": arguments}
