"""The model card: what an export was made from, how good it is, and what it is not for."""

from __future__ import annotations

import json
from typing import Any

from lightning_med.export.card_usage import describe_use
from lightning_med.export.export_kind import ExportKind
from lightning_med.tokenization.prompts import read_prompt
from lightning_med.version import __version__

_PAGE = """---
library_name: {library}
pipeline_tag: text-generation
language: en
tags: [lightning_med, medical, research]
---
# {title}

A small language model fine-tuned on doctor-patient consultations with lightning_med {version}.

**For research and education only. Not a medical device, not for clinical use, and never a substitute for care.** It
makes things up, in a confident voice: doses, diagnoses and reassurance among them. In an emergency call your emergency
number.

## Use

{use}

## Data

Source `{source}`{synthetic}. {rows_in:,} rows read, {rows_out:,} kept.
Training {train:,}, validation {validation:,}, test {test:,}; no question stands on two sides.
Fingerprint `{fingerprint}`.

| rule | rows |
|---|---|
{rules}

Prompt format `{prompt_format}`, system prompt: “{system_prompt}”

## Training

Checkpoint `{checkpoint}`, {steps:,} optimizer steps from {start}.
The loss is taken on the answers' tokens{question_weight}.

| setting | value |
|---|---|
{settings}

## Metrics

Over the answers' tokens of the validation split, at step {measured_at:,}.

| metric | value |
|---|---|
{metrics}

## Limits

English. One turn. Trained on answers from public forums or synthetic ones, with their mistakes; no clinician has
reviewed it. Perplexity says how well it predicts such answers, not whether they are right.
"""
_SHOWN = {
    "model": (
        *("base", "from_scratch", "lora", "freeze", "base_dtype", "lr", "weight_decay", "warmup_fraction"),
        *("question_weight", "attention_dropout"),
    ),
    "data": ("max_length", "add_tokens", "batch_tokens", "seed"),
    "trainer": ("precision", "max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val"),
}


def make_model_card(card: dict[str, Any], steps: int, checkpoint: str, kind: ExportKind | None = None) -> str:
    """Returns the card of a checkpoint, in Markdown.

    Args:
        card: Of `lightning_med.checkpoints.reading.read_card`.
        steps: Optimizer steps of the checkpoint.
        checkpoint: The name of its file.
        kind: Of the export; default: a Hugging Face folder in float32.
    """
    kind = kind or ExportKind()
    data, settings, prompt = card["data"], card["settings"], read_prompt(card)
    if "precision" in card:  # earlier releases kept none
        settings = {**settings, "trainer": {**settings.get("trainer", {}), "precision": card["precision"]}}
    model = settings.get("model", {})
    weight = model.get("question_weight", 0)
    sampled = any(source["path"] == "sample" for source in data["recipe"]["sources"])
    scratch = "random weights" if model.get("from_scratch") else f"`{model.get('base')}`"
    return _PAGE.format(
        title=f"lightning_med {json.loads(card['network'])['model_type']} on {', '.join(data['files'])[:60]}",
        version=__version__,
        library="peft" if kind.adapter else "gguf" if kind.format == "gguf" else "transformers",
        use=describe_use(
            kind, prompt.end_token or json.loads(card["tokenizer"])["special"]["eos_token"], str(model.get("base"))
        ),
        source=", ".join(data["files"]),
        synthetic=" (those of `sample` are synthetic, written by a program)" if sampled else "",
        rows_in=data["rows_in"],
        rows_out=data["rows_out"],
        **data["splits"],
        fingerprint=data["fingerprint"],
        rules=_format_rows(data["rules"]),
        prompt_format=prompt.format,
        system_prompt=prompt.system,
        checkpoint=checkpoint,
        steps=steps,
        measured_at=card["measured_at"],
        start=scratch,
        question_weight=f", and with weight {weight} on the questions'" if weight else " alone",
        settings=_format_rows(
            {name: settings.get(part, {}).get(name) for part, names in _SHOWN.items() for name in names}
        ),
        metrics=_format_rows({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in card["metrics"].items()})
        or "| none yet | |",
    )


def _format_rows(values: dict[str, Any]) -> str:
    return "\n".join(f"| {name} | {value} |" for name, value in values.items() if value is not None)
