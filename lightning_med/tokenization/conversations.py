"""Prompts of conversations that go on."""

from __future__ import annotations

from lightning_med.tokenization.encoder import Encoder, replace_system
from lightning_med.tokenization.turn_markers import break_markers

_LONGEST = 16  # characters of a token, on average over a text


def encode_conversation(encoder: Encoder, questions: list[str], answers: list[str], max_tokens: int) -> list[int]:
    """Encodes a prompt for generation after some exchanges: it ends where the answer to the last question starts.

    Where it is too long the first exchanges are left out, and at last the end of the last question.

    Args:
        encoder: Of the network.
        questions: Untrusted text, at least one.
        answers: To all questions but the last; untrusted, too.
        max_tokens: Tokens of all.
    """
    # Nobody has this many characters in a token: what lies farther back is not even encoded.
    first = _find_first(questions, answers, _LONGEST * max_tokens)
    for start in range(first, len(questions) - 1):
        ids = encoder.encode_turns(questions[start:], [*answers[start:], ""])
        if len(ids) <= max_tokens:
            return ids
    return encoder.encode_question(questions[-1], max_tokens - encoder.prompt_length)


def _find_first(questions: list[str], answers: list[str], limit: int) -> int:
    """Returns the first exchange from which on a conversation has at most so many characters."""
    left = limit - len(questions[-1])
    for place in range(len(questions) - 2, -1, -1):
        left -= len(questions[place]) + len(answers[place])
        if left < 0:
            return place + 1
    return 0


def add_to_system(encoder: Encoder, text: str, max_length: int) -> Encoder:
    """Returns an encoder whose system prompt has a text from outside after its own.

    Args:
        encoder: Of the network.
        text: Untrusted: control tokens that it spells are broken, and markers of turns.
        max_length: Tokens of a conversation with its answer.

    Raises:
        InputError: It leaves no room.
    """
    prompt = encoder.prompt
    tokens = encoder.tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    names = [token.content for token in tokens]
    control = tuple(name for name in names if len(name) > 1 and not (name.isspace() or name.isalnum()))
    broken = prompt.protect("\n" + break_markers(text, control)).lstrip("\n")
    return replace_system(encoder, f"{prompt.system.strip()}\n\n{broken}", max_length)


def count_opening(encoder: Encoder) -> int:
    """Returns how many tokens the prompts of all conversations begin with alike: those of the system prompt."""
    first, second = (encoder.encode_question(text, 1) for text in ("a", "1"))
    return next(place for place, (one, two) in enumerate(zip(first, second, strict=True)) if one != two)
