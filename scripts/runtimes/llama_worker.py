"""What llama.cpp does with a GGUF file: run by any Python that has llama-cpp-python, without this package.

    python llama_worker.py model.gguf JOB.json RESULT.json

The job has `texts` to tokenize, `conversations` to render, `prompts` (ids) to continue, and the number of `tokens`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp.llama_chat_format import Jinja2ChatFormatter


def main(argv: list[str]) -> None:
    """Runs the job."""
    model, job_file, result_file = argv
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    llama = llama_cpp.Llama(
        model,
        n_ctx=max(map(len, job["prompts"])) + job["tokens"],
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        flash_attn=False,
        n_threads=job["threads"],
        n_threads_batch=job["threads"],
        verbose=False,
    )
    answers, logits = zip(*(continue_prompt(llama, prompt, job["tokens"]) for prompt in job["prompts"]), strict=True)
    np.save(Path(result_file).with_suffix(".npy"), np.stack(logits))
    vocabulary = llama_cpp.llama_model_get_vocab(llama.model)
    result = {
        "version": llama_cpp.__version__,
        "ids": [llama.tokenize(text.encode(), add_bos=True, special=True) for text in job["texts"]],
        "prompts": [render(llama, messages) for messages in job["conversations"]],
        "answers": answers,
        "eos": llama.token_eos(),
        "ends": [token for token in job["stops"] if llama_cpp.llama_vocab_is_eog(vocabulary, token)],
    }
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")


def continue_prompt(llama: Any, prompt: list[int], tokens: int) -> tuple[list[int], np.ndarray]:
    """Returns the most likely ids after a prompt, one after the other, and the logits of the first of them."""
    llama.reset()
    llama.eval(prompt)
    answer: list[int] = []
    first = get_logits(llama)
    for _ in range(tokens):
        answer.append(int(get_logits(llama).argmax()))
        llama.eval(answer[-1:])
    return answer, first


def get_logits(llama: Any) -> np.ndarray:
    """Returns the logits after the last token, `[vocabulary]`."""
    pointer = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
    return np.ctypeslib.as_array(pointer, (llama.n_vocab(),)).copy()


def render(llama: Any, messages: list[Any]) -> str:
    """Returns the prompt of a conversation, as llama-cpp-python renders the file's chat template."""
    eos = llama.detokenize([llama.token_eos()], special=True).decode()
    formatter = Jinja2ChatFormatter(llama.metadata["tokenizer.chat_template"], eos_token=eos, bos_token="")
    return formatter(messages=messages).prompt


if __name__ == "__main__":
    main(sys.argv[1:])
