"""DialogueLM: a causal language model that learns to answer as a doctor."""

from __future__ import annotations

import copy
import os
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from lightning_med.checkpoints.reading import KEY, check_shapes, read_card, read_checkpoint
from lightning_med.inference.generation import Decoding, GenerationSpeed, generate_answers
from lightning_med.model.causal_lm import (
    build_from_scratch,
    build_from_text,
    compute_nll,
    get_context_length,
    load_base,
)
from lightning_med.model.perplexity import AnswerLikelihood
from lightning_med.safety import guard
from lightning_med.training.batch_size import BatchBudget, measure_budget
from lightning_med.training.checkpoint_contents import check_evaluation, make_contents, restore_run
from lightning_med.training.loss_monitor import LossMonitor
from lightning_med.training.optimizer import apply_settings, count_steps, ends_step, make_adamw, make_warmup_cosine
from lightning_med.training.sharding import ShardedStrategy, shard_weights
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError, check_range


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
        compile: Compile the network with torch.compile, once for all lengths of batches; a minute at the start of each
            command, which long runs on a GPU may win back.
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
        compile: bool = False,
        max_new_tokens: int = 200,
        temperature: float = 0.0,
        top_p: float = 0.9,
        no_repeat_ngram_size: int = 6,
    ) -> None:
        super().__init__()
        if not base and not from_scratch:
            raise InputError("No model is named.", "Give --model.base NAME or --model.from_scratch '{n_layer: 2, …}'.")
        check_range("question_weight", question_weight, 0, 1)
        check_range("warmup_fraction", warmup_fraction, 0, 1)
        check_range("attention_dropout", attention_dropout, 0, 1)
        check_range("weight_decay", weight_decay, 0)
        check_range("lr", lr, 0)
        self.save_hyperparameters(logger=False)
        self.decoding = Decoding(max_new_tokens, temperature, top_p, no_repeat_ngram_size)
        self.model: PreTrainedModel | None = None
        self.settings: dict[str, Any] = {}  # the command's, kept in each checkpoint
        self.checkpoint: str | None = None  # the one to be loaded, where the command knows it
        self.results: dict[str, float] = {}  # the last evaluation's, in float64
        self.measured_at = 0  # the step of those results
        self.pace = GenerationSpeed()  # of predict
        self._started = False  # the network stands as it was before any fine-tuning
        self._untuned: list[PreTrainedModel] = []  # in a list, so that it is no part of the state
        self.likelihood = {part: AnswerLikelihood() for part in ("train", "val", "test", "base")}
        self._gradient_norm: Tensor | None = None
        self.numbers = LossMonitor(self._named)
        self.resume_anyway = False  # go on from a checkpoint of other settings

    # ------------------------------------------------------------------ the network

    def configure_model(self) -> None:
        # Without a trainer a checkpoint's own description builds the network.
        if self.model is not None or self._trainer is None:
            return
        try:
            self.model = self._start()
        except InputError:
            if self.checkpoint is None:
                raise
            say("The base cannot be had here; the checkpoint has all weights, so it goes on without a comparison.")
            self.model = build_from_text(read_card(read_checkpoint(self.checkpoint))["network"])
        else:
            self._started = True
        if isinstance(self.trainer.strategy, ShardedStrategy):
            shard_weights(self.model, self.trainer.strategy.device_mesh["data_parallel"])
        if self.hparams["compile"]:
            self.model.base_model.compile(dynamic=True)  # in place: the names of the weights stay
        limit = get_context_length(self.model)
        longest = self.trainer.datamodule.longest  # type: ignore[attr-defined]
        if longest > limit:
            raise InputError(
                f"A consultation has {longest} tokens, more than the model's context of {limit}.",
                f"Cut such ones: --data.eval_max_length {limit}, and --data.max_length as much or less.",
            )

    def _start(self) -> PreTrainedModel:
        """The network as it is before fine-tuning."""
        tokenizer = self.trainer.datamodule.prepared.tokenizer  # type: ignore[attr-defined]
        dropout = self.hparams["attention_dropout"]
        if self.hparams["from_scratch"]:
            fields = dict(self.hparams["from_scratch"])
            return build_from_scratch(fields, len(tokenizer), tokenizer.eos_token_id, dropout, self.seed)
        network = load_base(self.hparams["base"], dropout)
        known = network.get_input_embeddings().num_embeddings
        if len(tokenizer) > int(known):  # type: ignore[arg-type]
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

    def budget(self, max_length: int) -> BatchBudget:
        """The tokens of a training batch that fit here, in the trainer's precision; see `model.budget`."""
        plugin, device = self.trainer.precision_plugin, self.trainer.strategy.root_device
        return measure_budget(self.network, device, plugin.forward_context, max_length)

    # ------------------------------------------------------------------ training

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        # A batch's dropout is a function of its place, not of what ran before it: a resumed fit draws the same.
        place = [self.seed, self.trainer.current_epoch, batch_idx, self.trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))

    @property
    def seed(self) -> int:
        """Of the weights and of dropout."""
        return int(os.environ.get("PL_GLOBAL_SEED", 0))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        weight = float(self.hparams["question_weight"])
        total, nll = compute_nll(self.network, batch, weight)
        self.likelihood["train"].update(nll.detach(), batch["answer_bytes"])
        share = total / (batch["window_answers"] + weight * batch["window_questions"])
        self.numbers.batch(share, batch["rows"], batch["input_ids"].numel())
        # The trainer divides by the number of batches and ranks in a step; what is wanted is a division by its tokens.
        return share * self.trainer.accumulate_grad_batches * self.trainer.world_size

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            # The trainer leaves this to a fused optimizer, which would do it after the clipping. The scaler knows that
            # it is done, and its step then only looks whether all numbers are finite.
            scaler.unscale_(optimizer)
        parameters = list(self.network.parameters())
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        # Of shared out weights each rank has a part of the norm.
        self._gradient_norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        self.numbers.step(self.trainer.global_step + 1, self._gradient_norm, scaler is not None)
        if gradient_clip_val and gradient_clip_algorithm in (None, "norm"):
            torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, self._gradient_norm)
        elif gradient_clip_val:
            torch.nn.utils.clip_grad_value_(parameters, gradient_clip_val)

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        # The point is a mean over all tokens since the last one, and the only place where the step waits for a number.
        if not ends_step(self.trainer, batch_idx) or self.trainer.global_step % self._every:
            return
        values = self.likelihood["train"].compute()
        self.likelihood["train"].reset()
        if self.numbers.spiked(values["loss"]):
            say(f"Step {self.trainer.global_step}: the loss rose to {values['loss']:.3f}.", self.trainer)
        self.log_dict({f"train/{name}": float(getattr(self.numbers, name)) for name in ("spikes", "skipped")})
        norm = {} if self._gradient_norm is None else {"train/gradient_norm": self._gradient_norm}
        self.log_dict({"train/bits_per_byte": values["bits_per_byte"], "train/tokens": float(values["tokens"]), **norm})
        self.log_dict({f"train/{name}": values[name] for name in ("loss", "perplexity")}, prog_bar=True)

    @property
    def _every(self) -> int:
        return max(int(getattr(self.trainer, "log_every_n_steps", 1)), 1)

    def configure_optimizers(self) -> Any:
        optimizer = make_adamw(self.network, self.hparams["lr"], self.hparams["weight_decay"])
        schedule = LambdaLR(optimizer, make_warmup_cosine(self.total_steps, self.hparams["warmup_fraction"]))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole fit."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        return count_steps(self.trainer, len(data.epoch_plan(0)) // data.ranks, data.window)

    def on_train_epoch_start(self) -> None:
        self._align_validation()

    def _align_validation(self) -> None:
        """Lets a validation within an epoch wait for the end of its optimizer step, where a run can go on from."""
        every, window = self.trainer.val_check_batch, self.trainer.accumulate_grad_batches
        if isinstance(every, int) and self.trainer.check_val_every_n_epoch is not None:
            last = int(self.trainer.num_training_batches)
            self.trainer.val_check_batch = max(min(-(-every // window) * window, last), 1)

    def _named(self, rows: list[int], most: int = 20) -> str:
        """Training rows by source and row, for a message."""
        store = self.trainer.datamodule.store("train")  # type: ignore[attr-defined]
        by_source: dict[str, list[str]] = {}
        for row in rows[:most]:
            texts = store.texts(row)
            by_source.setdefault(str(texts["source"]), []).append(str(texts["row"]))
        named = "; ".join(f"{source}, rows {', '.join(numbers)}" for source, numbers in by_source.items())
        return named + (f" and {len(rows) - most} more" if len(rows) > most else "")

    def on_train_start(self) -> None:
        self._align_validation()  # an epoch that is resumed in its midst has no start
        factor = make_warmup_cosine(self.total_steps, self.hparams["warmup_fraction"])
        apply_settings(self.trainer, self.hparams["lr"], self.hparams["weight_decay"], factor)

    # ------------------------------------------------------------------ evaluation

    def on_fit_start(self) -> None:
        self._to_device()

    def on_validation_start(self) -> None:
        self._to_device()

    def on_test_start(self) -> None:
        self._to_device()
        for network in self._untuned:
            network.to(self.device)  # type: ignore[arg-type]

    def _to_device(self) -> None:
        for likelihood in self.likelihood.values():
            likelihood.to(self.device)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.likelihood["val"].update(compute_nll(self.network, batch)[1], batch["answer_bytes"])

    def on_validation_epoch_end(self) -> None:
        self._report("val", "val/")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.likelihood["test"].update(compute_nll(self.network, batch)[1], batch["answer_bytes"])
        for untuned in self._untuned:
            self.likelihood["base"].update(compute_nll(untuned, batch)[1], batch["answer_bytes"])

    def on_test_epoch_end(self) -> None:
        self._report("test", "test/")
        if self._untuned:
            self._report("base", "test/base_")

    def _report(self, part: str, prefix: str) -> None:
        values = {f"{prefix}{name}": value for name, value in self.likelihood[part].compute().items()}
        self.likelihood[part].reset()
        self.results.update(values)
        self.measured_at = self.trainer.global_step
        shown = f"{prefix}perplexity"
        self.log_dict({name: float(value) for name, value in values.items() if name != shown})
        self.log(shown, values[shown], prog_bar=True)

    def predict_step(self, batch: list[dict[str, Any]], batch_idx: int) -> list[dict[str, Any]]:
        encoder = self.trainer.datamodule.encoder  # type: ignore[attr-defined]
        questions = [str(row["question"]) for row in batch]
        answers = self.pace.timed(
            encoder.tokenizer, lambda: generate_answers(self.network, encoder, questions, self.decoding)
        )
        return [_predicted(row, text) for row, text in zip(batch, answers, strict=True)]

    # ------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.numbers.settle(getattr(self.trainer.precision_plugin, "scaler", None) is not None)
        checkpoint[KEY] = make_contents(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        known = checkpoint.get(KEY)
        if known is None:
            raise InputError("This checkpoint is not one of lightning-med.", "Give one of RUN/checkpoints.")
        if self.model is None:
            self.model = build_from_text(known["network"])
        elif "state_dict" in checkpoint:  # shared out, the strategy has loaded them already
            check_shapes(self.state_dict(), checkpoint["state_dict"])
        trainer = self._trainer
        if trainer is None:
            return
        if self._started and trainer.state.fn == "test" and not isinstance(trainer.strategy, ShardedStrategy):
            self._untuned = [copy.deepcopy(self.model).eval()]
        if trainer.state.fn == "fit":
            restore_run(self, checkpoint)
        else:
            check_evaluation(self, known)


def _predicted(row: dict[str, Any], raw: str) -> dict[str, Any]:
    """A line of predictions: the model is asked even where its answer will not be shown, so that both can be judged."""
    guarded = guard(str(row["question"]), raw)
    return {
        "row": row["row"],
        "source": row["source"],
        "question": row["question"],
        "reference": row["answer"],
        "answer": guarded.answer,
        "raw": raw,
        "level": guarded.verdict.level,
        "category": guarded.verdict.category,
        "guard": guarded.actions,
    }
