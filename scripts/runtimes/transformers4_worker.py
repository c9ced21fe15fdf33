"""What transformers 4 does with an exported folder: run by any Python that has it and torch, without this package.

    python transformers4_worker.py FOLDER JOB.json RESULT.json

The job has `texts` to tokenize, `conversations` to render, and `prompts` (ids) to compute the logits of.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(argv: list[str]) -> None:
    """Runs the job."""
    folder, job_file, result_file = argv
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    result: dict[str, Any] = {"version": transformers.__version__}
    if "texts" in job:
        result |= read_tokenizer(AutoTokenizer.from_pretrained(folder), job)
    network: Any = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = [network(torch.tensor([prompt])).logits[0, -1].numpy() for prompt in job["prompts"]]
    np.save(Path(result_file).with_suffix(".npy"), np.stack(logits))
    result |= {"dtype": str(network.config.torch_dtype), "generation": network.generation_config.to_dict()}
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")


def read_tokenizer(tokenizer: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Returns the ids of the texts and conversations, the decoded texts, and the special tokens."""
    ids = [tokenizer(text)["input_ids"] for text in job["texts"]]
    options = {"tokenize": True, "return_dict": True, "return_assistant_tokens_mask": True}
    rows = [tokenizer.apply_chat_template(messages, **options) for messages in job["exchanges"]]
    return {
        "ids": ids,
        "decoded": [tokenizer.decode(row, skip_special_tokens=True) for row in ids],
        "conversations": [[row["input_ids"], row["assistant_masks"]] for row in rows],
        "prompts": [
            tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            for messages in job["conversations"]
        ],
        "special": [tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.model_max_length],
    }


if __name__ == "__main__":
    main(sys.argv[1:])
