"""Makes what all programs are given: an export, its GGUF file, and the ids of the prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from answering.jobs import Job, QuestionSet
from answering.questions import MOST, make_questions
from lightning_med.inference.engines.scheduler import LENGTH

if TYPE_CHECKING:
    from lightning_med.inference.model_folder import ModelFolder


def prepare(folder: Path, streams: list[int], tokens: int, threads: int, serve: list[str], scratch: Path) -> Job:
    """Returns the job.

    Args:
        folder: An export, or a base, of which an export is made.
        streams: Numbers of streams, each at most `MOST`.
        tokens: Of each answer.
        threads: Of each program.
        serve: More options of `lightning-med serve`.
        scratch: An empty folder for what is made.
    """
    from lightning_med.cli.answering.engine_choice import find_llama_fault
    from lightning_med.data.preparation.cache.cache_folder import GGUF, find_cache_root
    from lightning_med.export.gguf.cached_file import make_gguf
    from lightning_med.inference.model_folder import is_export, open_export, open_model

    if not is_export(folder):
        folder = _export_base(open_model(folder), scratch / "export")
    model = open_export(folder)
    cache = find_cache_root(None) / GGUF  # where a server looks for it, which would make it else
    gguf = None if find_llama_fault(model) else make_gguf(model, cache, lambda *_: None)
    sets = [_encode(model, make_questions(number, count), tokens) for number, count in enumerate([MOST, *streams])]
    return Job(str(folder.absolute()), str(gguf) if gguf else None, tokens, threads, serve, sets[0], sets[1:])


def _encode(model: ModelFolder, questions: list[str], tokens: int) -> QuestionSet:
    room = min(LENGTH, model.context) - tokens - model.encoder.prompt_length
    return QuestionSet(questions, [model.encoder.encode_question(question, room) for question in questions])


def _export_base(model: ModelFolder, folder: Path) -> Path:
    """Exports a base as it is, with greedy decoding."""
    import torch

    from lightning_med.export.exported_tokenizer import make_exported_tokenizer
    from lightning_med.export.hf_folder import write_hf_folder
    from lightning_med.export.trained_model import TrainedModel
    from lightning_med.inference.decoding import Decoding
    from lightning_med.tokenization.tokenizer import store_tokenizer

    encoder = model.encoder
    network: Any = model.load_network(torch.float32)
    tokenizer = make_exported_tokenizer(store_tokenizer(encoder.tokenizer), encoder.prompt)
    card = {"max_length": encoder.max_length, "settings": {}, "data": {"fingerprint": ""}}
    decoding = Decoding(no_repeat_ngram_size=0)
    trained = TrainedModel(network, tokenizer, encoder.prompt, decoding, encoder.stops, model.context, card, steps=0)
    folder.mkdir()
    write_hf_folder(trained, folder, "float32", lambda *_: None)
    return folder
