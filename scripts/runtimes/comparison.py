"""Comparison of one export in transformers 5 with its GGUF file, with llama.cpp, and with transformers 4."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lightning_med.model.execution import get_context_length, use_native_attention
from lightning_med.serving.responder import Responder
from lightning_med.utils.errors import RunError

BOUNDS = {"gguf": 1e-3, "llama.cpp": 1e-2, "transformers 4": 1e-5}  # greatest difference, by the greatest logit
TOKENS = 64  # of an answer
TIE = 1e-4  # logits that differ by less, relative to the greatest, are equally likely
_ODD = (
    "1 é (or \N{PILL})...\n- a\n2. b!",
    "'s \"quoted\" IT'S 12345 days,  two spaces\ttab",
    "中文?\r\nТемпература 38,5 °C — ага",
    "e\N{COMBINING ACUTE ACCENT} \N{FAMILY}\N{ZERO WIDTH JOINER} \N{NO-BREAK SPACE}x\n\n\n",
)


@dataclass
class Findings:
    """What was found for one export.

    Attributes:
        figures: By what was compared.
        faults: What is wrong; empty if nothing.
    """

    figures: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def count(self, name: str, ours: list[Any], theirs: list[Any]) -> None:
        """Notes how many values are equal."""
        equal = sum(one == other for one, other in zip(ours, theirs, strict=True))
        self._note(name, f"{equal} of {len(ours)} equal", equal == len(ours))

    def measure(self, name: str, bound: float, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Notes the greatest difference of logits, relative to the greatest logit."""
        difference = float(np.abs(ours - theirs).max() / np.abs(ours).max())
        self._note(name, f"{difference:.1e}", difference <= bound)

    def _note(self, name: str, figure: str, right: bool) -> None:
        self.figures[name] = figure
        if not right:
            self.faults.append(f"{name}: {figure}")


class Comparison:
    """An export, what transformers 5 does with it, and how others differ.

    Args:
        folder: The Hugging Face folder, in float32.
        questions: To ask.
        threads: Of each program.
    """

    def __init__(self, folder: Path, questions: list[str], threads: int) -> None:
        torch.set_num_threads(threads)
        self.findings, self._folder = Findings(), folder
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        encoder = Responder.from_pretrained(folder, safety=False).encoder
        room = get_context_length(self._network) - TOKENS - encoder.prompt_length
        asked = [[{"role": "user", "content": question}] for question in questions]
        reply = [{"role": "assistant", "content": "It may pass. See a doctor if it stays."}]
        several = [[*one, *reply, *other] for one, other in zip(asked[::2], asked[1::2], strict=False)]
        special = [f"a{token} {token}\n{token}{token}b" for token in self._tokenizer.get_added_vocab()]
        rendered = [self._render(messages) for messages in (*asked, *several)]
        self._job: dict[str, Any] = {
            "texts": [*questions, *_ODD, *special, *rendered],
            "conversations": [*asked, *several],
            "exchanges": [[*messages, *reply] for messages in (*asked, *several)],
            "prompts": [encoder.encode_question(question, room) for question in questions],
            "stops": encoder.stops,
            "tokens": TOKENS,
            "threads": threads,
        }
        self._rendered = rendered
        self._ids = [self._tokenizer(text)["input_ids"] for text in self._job["texts"]]
        self._logits = np.stack([self._compute_logits(prompt)[-1] for prompt in self._job["prompts"]])

    def compare_file(self, gguf: Path) -> None:
        """Reads the GGUF file back with transformers and compares the logits.

        Args:
            gguf: The file, in float32.
        """
        if reason := _find_unread_setting(self._network.config):
            self.findings.figures["gguf: logits"] = f"not compared: transformers does not read {reason}"
            return
        read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).eval()
        self._network, exported = read, self._network
        logits = np.stack([self._compute_logits(prompt)[-1] for prompt in self._job["prompts"]])
        self._network = exported
        self.findings.measure("gguf: logits", BOUNDS["gguf"], self._logits, logits)

    def compare_llama(self, gguf: Path, python: str) -> None:
        """Compares ids, prompts, logits and answers with those of llama.cpp.

        Args:
            gguf: The file, in float32.
            python: An interpreter that has llama-cpp-python.
        """
        normalizer = self._tokenizer.backend_tokenizer.normalizer  # llama.cpp leaves it out
        texts = [normalizer.normalize_str(text) if normalizer else text for text in self._job["texts"]]
        result, logits = self._run("llama_worker.py", gguf, python, texts=texts)
        name = f"llama-cpp-python {result['version']}"
        ids = [self._tokenizer(text, add_special_tokens=False)["input_ids"] for text in self._job["texts"]]
        self.findings.count(f"{name}: ids of texts", ids, result["ids"])
        self.findings.count(f"{name}: rendered prompts", self._rendered, result["prompts"])
        ends = [self._job["stops"][0], *self._job["stops"]]
        self.findings.count(
            f"{name}: end tokens", ends, [result["eos"], *result["ends"], *[None] * len(ends)][: len(ends)]
        )
        self.findings.measure(f"{name}: logits", BOUNDS["llama.cpp"], self._logits, logits)
        likeliest = [
            self._choose_likeliest(*pair) for pair in zip(self._job["prompts"], result["answers"], strict=True)
        ]
        self.findings.count(f"{name}: greedy answers of {TOKENS} tokens", likeliest, result["answers"])

    def compare_transformers4(self, python: str) -> None:
        """Compares ids, prompts, special tokens and logits with those of transformers 4.

        Args:
            python: An interpreter that has it.
        """
        result, logits = self._run("transformers4_worker.py", self._folder, python)
        name, tokenizer = f"transformers {result['version']}", self._tokenizer
        self.findings.count(f"{name}: ids of texts", self._ids, result["ids"])
        decoded = [tokenizer.decode(ids, skip_special_tokens=True) for ids in self._ids]
        self.findings.count(f"{name}: decoded texts", decoded, result["decoded"])
        self.findings.count(f"{name}: rendered prompts", self._rendered, result["prompts"])
        options = {"return_dict": True, "return_assistant_tokens_mask": True}
        rows = [tokenizer.apply_chat_template(messages, **options) for messages in self._job["exchanges"]]
        conversations = [[row["input_ids"], row["assistant_masks"]] for row in rows]
        self.findings.count(f"{name}: ids and masks of conversations", conversations, result["conversations"])
        special = [tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.model_max_length]
        self.findings.count(f"{name}: special tokens", special, result["special"])
        ours = self._network.generation_config.to_diff_dict()
        names = [key for key in ours if key != "transformers_version"]
        theirs = [result["generation"].get(key) for key in names]
        self.findings.count(f"{name}: settings of generation", [ours[key] for key in names], theirs)
        self.findings.measure(f"{name}: logits", BOUNDS["transformers 4"], self._logits, logits)

    def _run(self, worker: str, model: Path, python: str, **changes: Any) -> tuple[dict[str, Any], np.ndarray]:
        """Runs a worker and returns its result and its logits."""
        with tempfile.TemporaryDirectory() as folder:
            job, result = Path(folder) / "job.json", Path(folder) / "result.json"
            job.write_text(json.dumps({**self._job, **changes}), encoding="utf-8")
            argv = [python, str(Path(__file__).with_name(worker)), str(model), str(job), str(result)]
            done = subprocess.run(argv, capture_output=True, text=True)
            if done.returncode or not result.is_file():
                reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise RunError(f"{worker} failed: {reason}", f"Run it by hand: {python} {worker} …")
            return json.loads(result.read_text(encoding="utf-8")), np.load(result.with_suffix(".npy"))

    def _render(self, messages: list[dict[str, str]]) -> str:
        return str(self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def _compute_logits(self, ids: list[int]) -> np.ndarray:
        """Returns the logits after each token, `[tokens, vocabulary]`."""
        with torch.inference_mode(), use_native_attention(self._network):
            logits: np.ndarray = self._network(torch.tensor([ids])).logits[0].numpy()
        return logits

    def _choose_likeliest(self, prompt: list[int], answer: list[int]) -> list[int]:
        """Returns the most likely token at each place of an answer; at a tie, the answer's."""
        logits = self._compute_logits([*prompt, *answer[:-1]])[len(prompt) - 1 :]
        best, given = logits.max(-1), logits[np.arange(len(answer)), answer]
        tied = best - given <= TIE * np.abs(logits).max()
        likeliest: list[int] = np.where(tied, answer, logits.argmax(-1)).tolist()
        return likeliest


def _find_unread_setting(config: Any) -> str:
    """Returns what of a network transformers does not read from GGUF, and llama.cpp does; empty for nothing."""
    rope = getattr(config, "rope_parameters", None) or {}
    if config.model_type == "gpt2" and config.n_positions != 1024:
        return "another context than 1,024 tokens"
    if rope.get("rope_type", "default") != "default":
        return "scaled positions"
    if getattr(config, "attention_bias", False):
        return "the order of biases"
    if config.model_type == "qwen3" and config.head_dim != 128:
        return "another width of heads than 128"
    return ""
