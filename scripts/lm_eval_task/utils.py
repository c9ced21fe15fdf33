"""Rows of the task and their score. Needs neither lm-eval nor lightning_med, so that either side can use it."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TASK = "reference_answers"
DEFAULT_CONTEXT = 2048  # tokens, as the harness takes it where the configuration has none
Row = dict[str, Any]


def read_rows(path: str | Path) -> list[Row]:
    """Reads consultations.

    Args:
        path: JSON lines with `question` and `reference`, as `lightning-med predict` writes them; without a `reference`
            the answer is `answer`.

    Returns:
        `number` (of the line, from 0), `question` and `reference` of each line, both without white space at the ends;
        empty where there is none.

    Raises:
        ValueError: A line is no JSON object.
    """
    rows = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").rstrip("\n").split("\n")):
        try:
            row = json.loads(line)
            texts = [row.get("question"), row["reference"] if "reference" in row else row.get("answer")]
        except (json.JSONDecodeError, AttributeError, TypeError) as error:
            raise ValueError(f"{path}, line {number + 1}: no JSON object ({error})") from error
        question, reference = (str(text or "").strip() for text in texts)
        rows.append({"number": number, "question": question, "reference": reference})
    return rows


def render_row(tokenizer: Any, row: Row) -> tuple[str, str]:
    """Returns a row's prompt and its answer as the chat template writes them, the answer without its end.

    Args:
        tokenizer: Of the model, with a chat template.
        row: Of `read_rows`.
    """
    asked = [{"role": "user", "content": row["question"]}]
    answered = [*asked, {"role": "assistant", "content": row["reference"]}]
    prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(answered, tokenize=False)
    if not whole.startswith(prompt):
        raise ValueError("The chat template writes another prompt before an answer than where one is to be generated.")
    rest = whole[len(prompt) :]
    return prompt, (rest.rpartition(tokenizer.eos_token)[0] or rest).rstrip()


def find_fault(tokenizer: Any, row: Row, context: int) -> str:
    """Returns why a row is left out; empty where it is not.

    Args:
        tokenizer: See `render_row`.
        row: Of `read_rows`.
        context: Tokens that the network can read; a row must fit with its end token.
    """
    if not row["question"] or not row["reference"]:
        return "without a question or an answer"
    control = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    if any(token in row[name] for token in control for name in ("question", "reference")):
        return "that spell a control token"
    prompt, target = render_row(tokenizer, row)
    if any(token in target for token in control):
        return "whose answer ends with another token than the tokenizer's end token, which this task cannot set apart"
    tokens = tokenizer(prompt + target, add_special_tokens=False)["input_ids"]
    return "longer than the context" if len(tokens) + 1 > context else ""


def select_rows(tokenizer: Any, rows: Sequence[Row], context: int) -> tuple[list[Row], Counter[str]]:
    """Returns the rows that are measured, with their `target` and its `bytes`, and how many are left out, by reason.

    Args:
        tokenizer, context: See `find_fault`.
        rows: Of `read_rows`.
    """
    kept, left_out = [], Counter[str]()
    for row in rows:
        if fault := find_fault(tokenizer, row, context):
            left_out[fault] += 1
        else:
            target = render_row(tokenizer, row)[1]
            kept.append({**row, "target": target, "bytes": len(target.strip().encode())})
    return kept, left_out


def load_rows(pretrained: str, data: str, max_length: int | None = None, **_: Any) -> dict[str, Any]:
    """Returns the task's data; the harness calls this.

    Args:
        pretrained: Folder of the model, of `--model_args`.
        data: File of the rows, of `--metadata`; see `read_rows`.
        max_length: Of `--model_args`; default: the network's context.

    Raises:
        ValueError: No row is left.
    """
    from datasets import Dataset
    from transformers import AutoConfig, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pretrained, local_files_only=True, trust_remote_code=False)
    config = AutoConfig.from_pretrained(pretrained, local_files_only=True, trust_remote_code=False)
    context = max_length or getattr(config, "max_position_embeddings", None) or DEFAULT_CONTEXT
    rows, left_out = select_rows(tokenizer, read_rows(data), context)
    for reason, count in left_out.items():
        logging.getLogger(__name__).warning("%s: %d rows %s are left out", TASK, count, reason)
    if not rows:
        raise ValueError(f"{data} has no row that can be measured.")
    return {"test": Dataset.from_list(rows)}  # in memory: no consultation is written into a cache


def score_row(doc: Row, results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Returns a row's metrics.

    Args:
        doc: The row.
        results: Log-likelihood (nats) of the answer, and of what white space of the prompt counts in it, if any.
    """
    likelihood = results[0][0] - math.fsum(result[0] for result in results[1:])
    return {"nats": -likelihood, "bits_per_byte": (likelihood, doc["bytes"])}
