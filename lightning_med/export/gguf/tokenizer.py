"""The tokenizer of a GGUF file: byte-level BPE, and the name by which llama.cpp knows how it splits text."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from lightning_med.tokenization.backend_text import split_backend
from lightning_med.utils.errors import InputError

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from transformers import PreTrainedTokenizerFast

_GPT2_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3_SPLIT = _QWEN2_SPLIT.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
_RULES = {  # (steps, whether a word that is a token is taken whole): `tokenizer.ggml.pre`
    (("gpt2",), False): "gpt-2",
    (("digit", "gpt2"), False): "smollm",
    ((_GPT2_SPLIT, "bytes"), False): "gpt-2",
    ((_QWEN2_SPLIT, "bytes"), False): "qwen2",
    ((_LLAMA3_SPLIT, "bytes"), True): "llama-bpe",
    ((_LLAMA3_SPLIT, "bytes"), False): "dbrx",
}
_GENERATION = re.compile(r"\{%(-?)\s*(?:end)?generation\s*(-?)%\}")  # a statement of transformers' alone
_HINT = "Export it as --format hf, which any tokenizer can be."


def add_tokenizer(writer: GGUFWriter, tokenizer: PreTrainedTokenizerFast, stops: list[int], rows: int) -> None:
    """Adds a tokenizer with its special tokens and its chat template.

    Args:
        writer: Of the file.
        tokenizer: Of the export.
        stops: Ids that an answer is over at. GGUF has a place for three.
        rows: Of the embeddings, which may be more than there are tokens.

    Raises:
        InputError: See `choose_rule`.
    """
    settings, text = split_backend(tokenizer.backend_tokenizer.to_str())
    model = json.loads(text)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(choose_rule(settings, model))
    tokens, types = list_tokens(settings["added_tokens"], model["vocab"], stops, rows)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if model["merges"]:
        writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]])
    first, *others = stops
    writer.add_eos_token_id(first)
    # What must not be lost if there are more than two others is the tokenizer's end token, which comes last.
    for add, token in zip((writer.add_eot_token_id, writer.add_eom_token_id), reversed(others), strict=False):
        add(token)
    bos = tokenizer.bos_token_id
    writer.add_bos_token_id(first if bos is None else bos)  # without one, llama.cpp would take its own of GPT-2
    writer.add_pad_token_id(first if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
    if tokenizer.unk_token_id is not None:
        writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_add_bos_token(False)  # the prompt holds it where it belongs
    writer.add_add_eos_token(False)
    template: Any = tokenizer.chat_template
    writer.add_chat_template(_GENERATION.sub(r"{#\1 answer \2#}", template))  # a comment trims the same white space


def check_tokenizer(tokenizer: PreTrainedTokenizerFast, rows: int) -> None:
    """Checks that llama.cpp gives the same ids for a text.

    Raises:
        InputError: It would split text in another way, or a token has no embedding.
    """
    settings, text = split_backend(tokenizer.backend_tokenizer.to_str())
    choose_rule(settings, json.loads(text))
    if (greatest := max(tokenizer.get_vocab().values())) >= rows:
        raise _refuse(f"it has ids up to {greatest}, the network embeddings of {rows} tokens")


def choose_rule(settings: dict[str, Any], model: dict[str, Any]) -> str:
    """Returns llama.cpp's name for the way in which a tokenizer splits text.

    Args:
        settings: Of its backend, without the model; see `split_backend`.
        model: Of its backend.

    Raises:
        InputError: It is no byte-level BPE, or llama.cpp has no such rule.
    """
    if model["type"] != "BPE" or model.get("byte_fallback"):
        raise _refuse("it is no byte-level BPE")
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise _refuse("it marks the parts of words")
    for token in settings["added_tokens"]:
        if token["lstrip"] or token["rstrip"] or token["single_word"]:
            raise _refuse(f"its token {token['content']!r} depends on the text around it")
    normalizer = settings["normalizer"] or {}
    composes = normalizer.get("type") == "NFC"  # llama.cpp leaves it out for Qwen too; composed text is the same
    rule = _RULES.get((_read_steps(settings["pre_tokenizer"] or {}), bool(model.get("ignore_merges"))))
    if rule is None or (normalizer and not (composes and rule == "qwen2")):
        raise _refuse("llama.cpp has no rule that splits text as it does")
    return rule


def list_tokens(
    added: list[dict[str, Any]], vocabulary: dict[str, int], stops: list[int], rows: int
) -> tuple[list[str], list[int]]:
    """Returns the text and the type of every id.

    A token that is no special one but added, as those of `--data.add_tokens`, is found in any text, so it is a user's.

    Args:
        added: Added tokens of the backend.
        vocabulary: Ids by token, without added ones that are no part of it.
        stops: Ids that an answer is over at.
        rows: Of the embeddings; ids without a token get a name that no text has.
    """
    from gguf import TokenType

    texts = {number: token for token, number in vocabulary.items()}
    types = dict.fromkeys(texts, TokenType.NORMAL)
    for token in added:
        texts[token["id"]] = token["content"]
        control = token["special"] or token["id"] in stops
        types[token["id"]] = TokenType.CONTROL if control else TokenType.USER_DEFINED
    taken = set(texts.values())
    for number in range(rows):
        if number not in texts:
            name = f"[PAD{number}]"
            while name in taken:
                name = f"[{name}]"
            texts[number], types[number] = name, TokenType.UNUSED
    return [texts[number] for number in range(rows)], [int(types[number]) for number in range(rows)]


def _read_steps(splitter: dict[str, Any]) -> tuple[str, ...]:
    """Names the steps of a pre-tokenizer; a step that is not known gets a name that no rule has."""
    if splitter.get("type") == "Sequence":
        return tuple(step for part in splitter["pretokenizers"] for step in _read_steps(part))
    match splitter:
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": uses_regex}:
            return ("gpt2" if uses_regex else "bytes",)
        case {"type": "Digits", "individual_digits": True}:
            return ("digit",)
        case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}:
            return (pattern,)
    return ("unknown",)


def _refuse(reason: str) -> InputError:
    return InputError(f"--format gguf cannot hold this tokenizer: {reason}.", _HINT)
