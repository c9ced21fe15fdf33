"""What an upstream server is asked: the conversation, and the decoding settings by its names."""

from __future__ import annotations

import re
from typing import Any

from lightning_med.inference.decoding import Decoding
from lightning_med.serving.conversation import Conversation

# What looks like a control token or a marker of turns: `<|im_start|>`, `</s>`, `<start_of_turn>`, `[INST]`.
_CONTROL = re.compile(r"<(?=[/|｜]*\w[^<>\s]*>)|\[(?=/?[A-Z_]+\])")


def make_request(model: str, system_prompt: str, conversation: Conversation, decoding: Decoding) -> dict[str, Any]:
    """Returns the body of a request to `/v1/chat/completions`.

    Args:
        model: Its name.
        system_prompt: Ours. The client's system text follows it and never stands alone.
        conversation: What was said.
        decoding: See `list_settings`.
    """
    added = f"\n\n{break_controls(conversation.system)}" if conversation.system else ""
    messages = [{"role": "system", "content": f"{system_prompt.strip()}{added}"}]
    for number, question in enumerate(conversation.questions):
        messages.append({"role": "user", "content": break_controls(question)})
        if number < len(conversation.answers):
            messages.append({"role": "assistant", "content": break_controls(conversation.answers[number])})
    return {
        "model": model,
        "messages": messages,
        **({"stop": list(conversation.stops)} if conversation.stops else {}),
        "stream": True,
        "stream_options": {"include_usage": True},
        **list_settings(decoding),
    }


def list_settings(decoding: Decoding) -> dict[str, Any]:
    """Returns decoding settings by the names of the protocol; those that have no effect are left out.

    `min_p` and `repetition_penalty` are no part of the protocol. vLLM and SGLang read them by these names, llama.cpp
    reads the penalty as `repeat_penalty`; `transformers serve` refuses a request with them. `no_repeat_ngram_size` has
    no counterpart anywhere and is not sent: a small model may repeat itself more than with our own server.
    """
    settings: dict[str, Any] = {"max_tokens": decoding.max_new_tokens, "temperature": decoding.temperature}
    if decoding.is_sampled:
        settings |= {"seed": decoding.sampling_seed}
        settings |= {"top_p": decoding.top_p} if decoding.top_p < 1 else {}
        settings |= {"min_p": decoding.min_p} if decoding.min_p else {}
    if decoding.repetition_penalty > 1:
        settings |= dict.fromkeys(("repetition_penalty", "repeat_penalty"), decoding.repetition_penalty)
    return settings


def break_controls(text: str) -> str:
    """Puts a space into what looks like a control token: servers read those inside messages, too."""
    return _CONTROL.sub(r"\g<0> ", text)
