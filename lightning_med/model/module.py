"""DialogueLM: a causal language model that learns to answer as a doctor."""

from __future__ import annotations

import copy
import json
import math
import os
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from lightning_med import checkpoint as ckpt
from lightning_med.data.tokens import restore_tokenizer, store_tokenizer
from lightning_med.errors import InputError
from lightning_med.model import network as net
from lightning_med.model.generation import Decoding, answer
from lightning_med.model.metrics import AnswerLikelihood
from lightning_med.progress import say


class DialogueLM(L.LightningModule):
    """Fine-tunes any causal model of transformers on the answers of consultations.

    The loss is the mean over the answers' tokens of an optimizer step, across its batches and ranks. Metrics are over
    the answers' tokens only, their ends included.

    Args:
        base: A name on the Hub or a folder. Ignored where `from_scratch` is given.
        from_scratch: Fields of GPT2Config; no weights are loaded then.
        lr: Peak learning rate.
        weight_decay: Of the matrices; norms and biases have none.
        warmup_fraction: Share of the steps in which the rate rises, before it falls in a half cosine to zero.
        question_weight: Weight of the questions' tokens in the loss; 0 skips their logits, 1 learns them as answers.
        attention_dropout: Dropout on attention weights; above 0 it costs speed. Other dropout is the base's own.
        max_new_tokens: Longest answer, in tokens.
        temperature: 0 for the likeliest answer, above 0 for a sampled one.
        top_p: Where sampled: among tokens that together have this probability.
        no_repeat_ngram_size: No run of so many tokens stands twice in an answer; 0 for off.
    """

    def __init__(
        self,
        base: str | None = "distilgpt2",
        from_scratch: dict[str, Any] | None = None,
        lr: float = 5e-4,
        weight_decay: float = 0.01,
        warmup_fraction: float = 0.05,
        question_weight: float = 0.0,
        attention_dropout: float = 0.0,
        max_new_tokens: int = 200,
        temperature: float = 0.0,
        top_p: float = 0.9,
        no_repeat_ngram_size: int = 6,
    ) -> None:
        super().__init__()
        if not base and not from_scratch:
            raise InputError("No model is named.", "Give --model.base NAME or --model.from_scratch '{n_layer: 2, …}'.")
        if not 0 <= question_weight <= 1:
            raise InputError(f"question_weight {question_weight} is not between 0 and 1.")
        self.save_hyperparameters(logger=False)
        self.decoding = Decoding(max_new_tokens, temperature, top_p, no_repeat_ngram_size)
        self.model: PreTrainedModel | None = None
        self.settings: dict[str, Any] = {}  # the command's, kept in each checkpoint
        self.checkpoint: str | None = None  # the one to be loaded, where the command knows it
        self.results: dict[str, float] = {}  # the last evaluation's, in float64
        self._started = False  # the network stands as it was before any fine-tuning
        self._untuned: list[PreTrainedModel] = []  # in a list, so that it is no part of the state
        self._likelihood = {part: AnswerLikelihood() for part in ("train", "val", "test", "base")}
        self._gradient_norm: Tensor | None = None

    # ------------------------------------------------------------------ the network

    def configure_model(self) -> None:
        if self.model is not None:
            return
        try:
            self.model = self._start()
        except InputError:
            if self.checkpoint is None:
                raise
            say("The base cannot be had here; the checkpoint has all weights, so it goes on without a comparison.")
            self.model = net.from_text(ckpt.card(ckpt.read(self.checkpoint))["network"])
        else:
            self._started = True
        limit = net.context_length(self.model)
        longest = self.trainer.datamodule.recipe.max_length  # type: ignore[attr-defined]
        if longest > limit:
            raise InputError(
                f"max_length {longest} is longer than the model's context of {limit} tokens.",
                f"Give --data.max_length {limit} or less.",
            )

    def _start(self) -> PreTrainedModel:
        """The network as it is before fine-tuning."""
        tokenizer = self.trainer.datamodule.prepared.tokenizer  # type: ignore[attr-defined]
        dropout = self.hparams["attention_dropout"]
        if self.hparams["from_scratch"]:
            seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
            fields = dict(self.hparams["from_scratch"])
            return net.from_scratch(fields, len(tokenizer), tokenizer.eos_token_id, dropout, seed)
        network = net.from_base(self.hparams["base"], dropout)
        known = network.get_input_embeddings().weight.shape[0]  # type: ignore[union-attr]
        if len(tokenizer) > known:
            raise InputError(
                f"The tokenizer has {len(tokenizer)} tokens, the base {self.hparams['base']} knows {known}.",
                f"Take the base's own: --data.tokenizer {self.hparams['base']}",
            )
        return network

    @property
    def network(self) -> PreTrainedModel:
        """The network itself.

        Raises:
            RuntimeError: No trainer and no checkpoint has built it yet.
        """
        if self.model is None:
            raise RuntimeError("The network is built by a trainer or by DialogueLM.load_from_checkpoint.")
        return self.model

    # ------------------------------------------------------------------ training

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        weight = float(self.hparams["question_weight"])
        total, nll = net.nll(self.network, batch, weight)
        self._likelihood["train"].update(nll.detach(), batch["answer_bytes"])
        targets = batch["window_answers"] + weight * batch["window_questions"]
        # The trainer divides by the number of batches in a step; what is wanted is a division by their tokens.
        return total / targets * self.trainer.accumulate_grad_batches

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        self._gradient_norm = torch.nn.utils.get_total_norm(gradients)
        if gradient_clip_val and gradient_clip_algorithm in (None, "norm"):
            parameters = [p for p in self.network.parameters() if p.grad is not None]
            torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, self._gradient_norm)
        elif gradient_clip_val:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        # The point is a mean over all tokens since the last one, and the only place where the step waits for a number.
        if (batch_idx + 1) % self.trainer.accumulate_grad_batches or self.trainer.global_step % self._every:
            return
        values = self._likelihood["train"].compute()
        self._likelihood["train"].reset()
        norm = {} if self._gradient_norm is None else {"train/gradient_norm": self._gradient_norm}
        self.log_dict({"train/bits_per_byte": values["bits_per_byte"], "train/tokens": float(values["tokens"]), **norm})
        self.log_dict({f"train/{name}": values[name] for name in ("loss", "perplexity")}, prog_bar=True)

    @property
    def _every(self) -> int:
        return max(int(getattr(self.trainer, "log_every_n_steps", 1)), 1)

    def configure_optimizers(self) -> dict[str, Any]:
        decay = self.hparams["weight_decay"]
        groups = [
            {"params": [p for p in self.network.parameters() if p.dim() >= 2], "weight_decay": decay},
            {"params": [p for p in self.network.parameters() if p.dim() < 2], "weight_decay": 0.0},
        ]
        # The fused kernel unscales float16 gradients itself, which forbids clipping before it.
        fused = self.trainer.precision != "16-mixed"
        optimizer = AdamW(groups, lr=self.hparams["lr"], betas=(0.9, 0.95), fused=fused)
        schedule = LambdaLR(optimizer, self._factor())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _factor(self) -> Any:
        """The learning rate's course: up in a line, down in a half cosine (Loshchilov & Hutter, 2017)."""
        total = max(self.total_steps, 1)
        warmup = max(round(total * self.hparams["warmup_fraction"]), 1)

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * min((step - warmup) / max(total - warmup, 1), 1)))

        return factor

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole fit."""
        # Not `estimated_stepping_batches`: it loads the training data before a resumed run knows where it stood.
        trainer = self.trainer
        batches = len(trainer.datamodule.epoch_plan(0))  # type: ignore[attr-defined]
        limit = trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else max(int(batches * limit), 1)
        steps = math.ceil(batches / trainer.accumulate_grad_batches)
        epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        ends = [
            s for s in (trainer.max_steps if trainer.max_steps > 0 else None, steps * epochs if epochs else None) if s
        ]
        return min(ends) if ends else steps

    def on_train_start(self) -> None:
        """What the command says of the optimizer holds, also where a checkpoint says otherwise."""
        for optimizer, schedule in zip(self.trainer.optimizers, self.trainer.lr_scheduler_configs, strict=True):
            wanted = self.hparams["lr"]
            scheduler = schedule.scheduler
            before = scheduler.base_lrs[0]  # type: ignore[union-attr]
            if before != wanted:
                say(f"model.lr: {before} in the checkpoint, {wanted} now: {wanted} is used.")
                scheduler.base_lrs = [wanted] * len(optimizer.param_groups)  # type: ignore[union-attr]
            factor = self._factor()(scheduler.last_epoch)  # type: ignore[union-attr]
            decays = (self.hparams["weight_decay"], 0.0)
            for group, decay in zip(optimizer.param_groups, decays, strict=True):
                group.update(lr=wanted * factor, initial_lr=wanted, weight_decay=decay)

    # ------------------------------------------------------------------ evaluation

    def on_fit_start(self) -> None:
        self._to_device()

    def on_validation_start(self) -> None:
        self._to_device()

    def on_test_start(self) -> None:
        self._to_device()
        for network in self._untuned:
            network.to(self.device)

    def _to_device(self) -> None:
        for likelihood in self._likelihood.values():
            likelihood.to(self.device)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._likelihood["val"].update(net.nll(self.network, batch)[1], batch["answer_bytes"])

    def on_validation_epoch_end(self) -> None:
        self._report("val", "val/")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._likelihood["test"].update(net.nll(self.network, batch)[1], batch["answer_bytes"])
        for untuned in self._untuned:
            self._likelihood["base"].update(net.nll(untuned, batch)[1], batch["answer_bytes"])

    def on_test_epoch_end(self) -> None:
        self._report("test", "test/")
        if self._untuned:
            self._report("base", "test/base_")

    def _report(self, part: str, prefix: str) -> None:
        values = {f"{prefix}{name}": value for name, value in self._likelihood[part].compute().items()}
        self._likelihood[part].reset()
        self.results.update(values)
        shown = f"{prefix}perplexity"
        self.log_dict({name: float(value) for name, value in values.items() if name != shown})
        self.log(shown, values[shown], prog_bar=True)

    def predict_step(self, batch: list[dict[str, Any]], batch_idx: int) -> list[dict[str, Any]]:
        encoder = self.trainer.datamodule.encoder  # type: ignore[attr-defined]
        answers = answer(self.network, encoder, [str(row["question"]) for row in batch], self.decoding)
        return [
            {
                "row": row["row"],
                "source": row["source"],
                "question": row["question"],
                "reference": row["answer"],
                "answer": text,
                "raw": text,
            }
            for row, text in zip(batch, answers, strict=True)
        ]

    # ------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        report = data.prepared.report
        checkpoint[ckpt.KEY] = {
            "format": ckpt.FORMAT,
            "network": net.to_text(self.network),
            "tokenizer": store_tokenizer(data.prepared.tokenizer),
            "system_prompt": data.prompt.system,
            "max_length": data.recipe.max_length,
            "settings": json.dumps(self.settings),
            "data": json.dumps({"fingerprint": data.prepared.fingerprint, **report}),
            "metrics": json.dumps(self.results),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        stored = checkpoint.get(ckpt.KEY)
        if stored is None:
            raise InputError("This checkpoint is not one of lightning-med.", "Give one of RUN/checkpoints.")
        if self.model is None:
            self.model = net.from_text(stored["network"])
        elif (shape := _differing(self.model, checkpoint["state_dict"])) is not None:
            raise InputError(
                f"The checkpoint holds another model than the settings name ({shape}).",
                "Give the run's own settings: --config RUN/config.yaml",
            )
        trainer = self._trainer
        if trainer is None:
            return
        if self._started and trainer.state.fn == "test":
            self._untuned = [copy.deepcopy(self.model).eval()]
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        for name, ours in (
            ("tokenizer", _rules(store_tokenizer(data.prepared.tokenizer))),
            ("system prompt", data.prompt.system),
        ):
            theirs = _rules(stored["tokenizer"]) if name == "tokenizer" else stored["system_prompt"]
            if ours != theirs:
                raise InputError(
                    f"The checkpoint was trained with another {name} than the settings name.",
                    "Give the run's own settings: --config RUN/config.yaml",
                )


def _rules(stored: str) -> str:
    return restore_tokenizer(stored).backend_tokenizer.to_str()


def _differing(network: PreTrainedModel, state: dict[str, Tensor]) -> str | None:
    """The first weight whose shape differs from the checkpoint's, in words."""
    ours = {f"model.{name}": tuple(weight.shape) for name, weight in network.state_dict().items()}
    theirs = {name: tuple(weight.shape) for name, weight in state.items()}
    for name in sorted(set(ours) ^ set(theirs)):
        return f"{name.removeprefix('model.')} is in one only"
    for name, shape in ours.items():
        if theirs[name] != shape:
            return f"{name.removeprefix('model.')}: {list(theirs[name])} there, {list(shape)} here"
    return None
