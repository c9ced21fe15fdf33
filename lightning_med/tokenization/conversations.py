"""Prompts of conversations that go on."""

from __future__ import annotations

from lightning_med.tokenization.encoder import Encoder


def encode_conversation(encoder: Encoder, questions: list[str], answers: list[str], max_tokens: int) -> list[int]:
    """Encodes a prompt for generation after some exchanges: it ends where the answer to the last question starts.

    Where it is too long the first exchanges are left out, and at last the end of the last question.

    Args:
        encoder: Of the network.
        questions: Untrusted text, at least one.
        answers: To all questions but the last; untrusted, too.
        max_tokens: Tokens of all.
    """
    for start in range(len(questions) - 1):
        ids = encoder.encode_turns(questions[start:], [*answers[start:], ""])
        if len(ids) <= max_tokens:
            return ids
    return encoder.encode_question(questions[-1], max_tokens - encoder.prompt_length)


def count_opening(encoder: Encoder) -> int:
    """Returns how many tokens the prompts of all conversations begin with alike: those of the system prompt."""
    first, second = (encoder.encode_question(text, 1) for text in ("a", "1"))
    return next(place for place, (one, two) in enumerate(zip(first, second, strict=True)) if one != two)
