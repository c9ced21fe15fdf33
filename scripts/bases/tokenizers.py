"""Small tokenizers with the rules, the control tokens and the chat templates of published bases."""

from __future__ import annotations

import csv
import json
from functools import cache
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from lightning_med.data.sample import PATH as SAMPLE

from .chat_templates import ALPACA, DEEPSEEK_R1, GEMMA, LLAMA2, LLAMA3, MISTRAL3, PHI3, QWEN3, SMOLLM2, ZEPHYR

QWEN2_SPLIT = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
LLAMA3_SPLIT = QWEN2_SPLIT.replace(r"|\p{N}|", r"|\p{N}{1,3}|")

BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
LINES = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


def split_like(pattern: str) -> Any:
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), BYTE_LEVEL])


# By kind: pre-tokenizer to train with, pre-tokenizer, normalizer.
KINDS: dict[str, tuple[Any, Any, Any]] = {
    "gpt2": (pre_tokenizers.ByteLevel(add_prefix_space=False),) * 2 + (None,),
    "prefix_space": (pre_tokenizers.ByteLevel(add_prefix_space=True),) * 2 + (None,),
    "qwen2": (split_like(QWEN2_SPLIT),) * 2 + (normalizers.NFC(),),
    "llama3": (split_like(LLAMA3_SPLIT),) * 2 + (None,),
    "llama2": (pre_tokenizers.Metaspace(), None, LINES),
    "metaspace": (pre_tokenizers.Metaspace(), pre_tokenizers.Metaspace(prepend_scheme="first", split=False), None),
    "gemma": (
        pre_tokenizers.Metaspace(),
        pre_tokenizers.Split(" ", "merged_with_previous"),
        normalizers.Replace(" ", "▁"),
    ),
    "unigram": (pre_tokenizers.Metaspace(),) * 2 + (normalizers.NFKC(),),
}
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


@cache
def train_model(kind: str) -> str:
    """Returns a backend of a kind without special tokens but `<unk>`, as JSON."""
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:120]
    texts = [row[name] for row in rows for name in ("input", "output")]
    trained_with = KINDS[kind][0]
    if not isinstance(trained_with, pre_tokenizers.Metaspace):  # `?` and line breaks merge where the rules allow it
        texts += [f"{row['input']}\n\n{row['output']}\n- It was 5 days!\n\n" for row in rows]
    options: dict[str, Any] = {"vocab_size": 700, "show_progress": False}
    if kind == "unigram":
        backend = Tokenizer(models.Unigram())
        trainer: Any = trainers.UnigramTrainer(
            unk_token="<unk>", special_tokens=["<unk>", "</s>"], initial_alphabet=list("\n<>|é"), **options
        )
    elif isinstance(trained_with, pre_tokenizers.Metaspace):
        backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        trainer = trainers.BpeTrainer(special_tokens=["<unk>", *BYTES], **options)
    else:
        backend = Tokenizer(models.BPE())
        trainer = trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options)
    backend.pre_tokenizer = trained_with
    backend.train_from_iterator(texts, trainer)
    stored = json.loads(backend.to_str())
    stored["added_tokens"] = [token for token in stored["added_tokens"] if token["content"] not in BYTES]
    return json.dumps(stored)


def make_base(
    kind: str,
    template: str | None = None,
    tokens: tuple[str | AddedToken, ...] = (),
    eos: str = "</s>",
    bos: str | None = None,
    adds_bos: bool = False,
) -> PreTrainedTokenizerFast:
    """Returns a tokenizer like a base's.

    Args:
        kind: One of `KINDS`.
        template: Its chat template.
        tokens: Special tokens, or others as `AddedToken`.
        eos, bos: Its end token and the token of a text's beginning.
        adds_bos: Its post-processor puts `bos` before a text.
    """
    backend = Tokenizer.from_str(train_model(kind))
    _, pre_tokenizer, normalizer = KINDS[kind]
    if pre_tokenizer is not None:
        backend.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        backend.normalizer = normalizer
    if kind in ("llama2", "metaspace", "gemma"):
        backend = without_pre_tokenizer(backend) if kind == "llama2" else backend
        backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    elif kind == "unigram":
        backend.decoder = decoders.Metaspace()
    else:
        backend.decoder = decoders.ByteLevel()
    special = [token for token in (bos, eos) if token is not None]
    for token in (*special, *tokens):
        add = backend.add_tokens if isinstance(token, AddedToken) and not token.special else backend.add_special_tokens
        add([token])
    trimmed: list[Any] = [processors.ByteLevel(trim_offsets=True)] if kind in ("gpt2", "llama3") else []
    if adds_bos:
        names = [(str(bos), backend.token_to_id(str(bos)))]
        trimmed.append(processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=names))
    if trimmed:
        backend.post_processor = processors.Sequence(trimmed)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=eos, bos_token=bos)
    tokenizer.chat_template = template
    return tokenizer


def without_pre_tokenizer(backend: Tokenizer) -> Tokenizer:
    settings = json.loads(backend.to_str())
    return Tokenizer.from_str(json.dumps({**settings, "pre_tokenizer": None}))


IM = ("<|im_start|>",)


def swallowing(*names: str) -> tuple[AddedToken, ...]:
    return tuple(AddedToken(name, rstrip=True, special=True) for name in names)


BASES: dict[str, dict[str, Any]] = {
    "smollm2": {"kind": "gpt2", "template": SMOLLM2, "eos": "<|im_end|>", "bos": "<|im_start|>"},
    "qwen2": {"kind": "qwen2", "template": SMOLLM2, "eos": "<|im_end|>", "tokens": IM},
    "qwen3": {
        "kind": "qwen2",
        "template": QWEN3,
        "eos": "<|im_end|>",
        "tokens": (*IM, AddedToken("<think>", special=False), AddedToken("</think>", special=False)),
    },
    "llama3": {
        "kind": "llama3",
        "template": LLAMA3,
        "eos": "<|end_of_text|>",
        "bos": "<|begin_of_text|>",
        "tokens": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "adds_bos": True,
    },
    "gemma": {
        "kind": "gemma",
        "template": GEMMA,
        "eos": "<eos>",
        "bos": "<bos>",
        "tokens": ("<start_of_turn>", "<end_of_turn>", AddedToken("\n\n", special=False, normalized=False)),
        "adds_bos": True,
    },
    "phi3": {
        "kind": "llama2",
        "template": PHI3,
        "eos": "<|endoftext|>",
        "bos": "<s>",
        "tokens": swallowing("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
    },
    "phi3_metaspace": {
        "kind": "metaspace",
        "template": PHI3,
        "eos": "<|endoftext|>",
        "tokens": swallowing("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
    },
    "zephyr": {"kind": "llama2", "template": ZEPHYR, "bos": "<s>", "adds_bos": True},
    "zephyr_bytes": {"kind": "qwen2", "template": ZEPHYR},
    "llama2": {"kind": "llama2", "template": LLAMA2, "bos": "<s>", "adds_bos": True},
    "llama2_metaspace": {"kind": "metaspace", "template": LLAMA2, "bos": "<s>", "adds_bos": True},
    "llama2_prefix_space": {"kind": "prefix_space", "template": LLAMA2, "bos": "<s>", "adds_bos": True},
    "mistral3": {
        "kind": "metaspace",
        "template": MISTRAL3,
        "bos": "<s>",
        "tokens": ("[INST]", "[/INST]"),
        "adds_bos": True,
    },
    "llama3_gpt2": {
        "kind": "gpt2",  # would merge the line breaks at the end of a generation prompt, and not before an answer
        "template": LLAMA3,
        "eos": "<|eot_id|>",
        "bos": "<|begin_of_text|>",
        "tokens": ("<|start_header_id|>", "<|end_header_id|>"),
    },
    "alpaca": {"kind": "qwen2", "template": ALPACA},
    "alpaca_gpt2": {"kind": "gpt2", "template": ALPACA},
    "deepseek_r1": {
        "kind": "llama3",
        "template": DEEPSEEK_R1,
        "bos": "<s>",
        "eos": "<|end|>",
        "tokens": ("<|User|>", "<|Assistant|>", AddedToken("<think>", special=False)),
    },
    "unigram": {"kind": "unigram", "template": ZEPHYR, "bos": "<s>", "adds_bos": True},
    # Without a chat template: the format `plain`.
    "plain_qwen2": {"kind": "qwen2"},
    "plain_llama3": {"kind": "llama3", "eos": "<|end_of_text|>", "bos": "<|begin_of_text|>", "adds_bos": True},
    "plain_llama2": {"kind": "llama2", "bos": "<s>", "adds_bos": True},
    "plain_metaspace": {"kind": "metaspace", "bos": "<s>", "adds_bos": True},
    "plain_gemma": {"kind": "gemma", "bos": "<bos>", "eos": "<eos>", "adds_bos": True},
    "plain_unigram": {"kind": "unigram"},
    "plain_prefix_space": {"kind": "prefix_space"},
    "plain_gpt2_bos": {"kind": "gpt2", "bos": "<s>", "adds_bos": True},
}


@cache
def load_base(name: str) -> PreTrainedTokenizerFast:
    """Returns one of `BASES`."""
    return make_base(**BASES[name])
