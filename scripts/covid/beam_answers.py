"""Answers by the decoding of the paper, through `generate` of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel

from covid.dialogues import Example
from lightning_med.checkpoints.digests import compute_digest
from lightning_med.inference.model_folder import open_model
from lightning_med.inference.part_file import PartFile
from lightning_med.model.execution import get_context_length
from lightning_med.tokenization.encoder import Encoder
from lightning_med.utils.console import Progress

PROTOCOL = {  # `models/dialo_gpt.py` and `models/bart_trainer.py` of the authors
    "num_beams": 10,
    "length_penalty": 2.0,
    "min_new_tokens": 50,
    "max_new_tokens": 200,
    "no_repeat_ngram_size": 3,  # over history and answer, as theirs of DialoGPT
}


def write_beam_answers(folder: Path, rows: list[Example], output: Path, progress: Progress) -> None:
    """Answers rows and writes `row`, `question`, `reference` and `answer` as JSON lines; goes on after an interruption.

    Args:
        folder: Of the export.
        rows: Of `read_examples`.
        output: Left as it is where it is there.
        progress: Is told how many rows are done.
    """
    if output.is_file():
        return
    weights = compute_digest(folder / "model.safetensors")
    identity = {"model": weights, "rows": str(len(rows)), "decoding": str(PROTOCOL)}
    part = PartFile(output, identity, overwrite=True)
    try:
        missing = [number for number in range(len(rows)) if number not in part.written]
        model = open_model(folder)
        network = model.load_network(torch.float32)
        for done, number in enumerate(missing):
            progress(output.stem, len(rows) - len(missing) + done, len(rows))
            answer = search_answer(network, model.encoder, rows[number]["question"])
            row = {"row": number, "question": rows[number]["question"], "reference": rows[number]["answer"]}
            part.append({number: {**row, "answer": answer}})
        part.complete(len(rows))
    finally:
        part.close()


@torch.inference_mode()
def search_answer(network: PreTrainedModel, encoder: Encoder, question: str) -> str:
    """Returns the answer of a beam search by `PROTOCOL`, with single spaces.

    Args:
        network: In evaluation mode, in float32.
        encoder: With its prompt and tokenizer.
        question: The history.
    """
    room = get_context_length(network) - encoder.prompt_length - PROTOCOL["max_new_tokens"]
    ids = torch.tensor([encoder.encode_question(question, int(room))], device=network.device)
    config = GenerationConfig(eos_token_id=encoder.stops, pad_token_id=encoder.stops[0], do_sample=False, **PROTOCOL)
    network.generation_config = config  # what ours leaves unset would be taken from the export's
    found: Any = network.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)  # type: ignore[operator]
    text = encoder.tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True)
    return " ".join(text.split())
