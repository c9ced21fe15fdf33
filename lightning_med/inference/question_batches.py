"""Which questions are answered side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_med.inference.decoding import Decoding
from lightning_med.inference.generation import encode_prompts
from lightning_med.tokenization.encoder import Encoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# By device: questions of a batch, and its tokens with those of its answers. A GPU hardly notices more of them.
LIMITS = {"cpu": (32, 1 << 13), "cuda": (256, 1 << 15)}


def plan_questions(
    network: PreTrainedModel, encoder: Encoder, questions: Sequence[str], decoding: Decoding
) -> list[list[int]]:
    """Splits questions into batches of similar length, which `generate_answers` answers in bounded memory.

    Args:
        network: In evaluation mode.
        encoder: With the prompt and the tokenizer that the network was trained with.
        questions: Maybe none.
        decoding: Decoding settings.

    Returns:
        Places in `questions`, of each batch; a function of the arguments and of the kind of device alone.
    """
    if not questions:
        return []
    count, budget = LIMITS.get(network.device.type, LIMITS["cpu"])
    prompts, max_new_tokens = encode_prompts(network, encoder, questions, decoding)
    lengths = [len(prompt) + max_new_tokens for prompt in prompts]
    batches: list[list[int]] = [[]]
    for place in sorted(range(len(questions)), key=lambda place: lengths[place]):
        size = len(batches[-1]) + 1  # with this one, which is the longest so far
        if size > 1 and (size > count or size * lengths[place] > budget):
            batches.append([])
        batches[-1].append(place)
    return batches
