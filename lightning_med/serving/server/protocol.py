"""The OpenAI protocol: what requests hold, and the JSON of answers, pieces of answers and errors."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from lightning_med.inference.decoding import Decoding
from lightning_med.serving.conversation import Message
from lightning_med.serving.reply import Reply
from lightning_med.tokenization.text_normalization import replace_half_surrogates
from lightning_med.utils.errors import InputError

MAX_MESSAGES = 200
_MAX_STOPS, _MAX_STOP_LENGTH = 4, 100
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {  # settings, and the values with which they change nothing
    "n": (1,),
    "best_of": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False, 0),
    "top_logprobs": (0,),
    "top_k": (-1, 0),
    "echo": (False,),
    "suffix": ("",),
    "tools": ([],),
    "functions": ([],),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
}


class _Request(BaseModel):
    """What both kinds of requests hold. Other keys that clients send are not read."""

    model_config = ConfigDict(extra="ignore")

    model: StrictStr | None = None
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = None
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, ge=1, le=2)
    stop: StrictStr | list[StrictStr] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, values: Any) -> Any:
        """Refuses settings that would change the answer and that nothing here honours."""
        for name, neutral in _UNSUPPORTED.items():
            if isinstance(values, dict) and values.get(name) not in (None, *neutral):
                raise PydanticCustomError("unsupported_value", "this server does not support it", {"param": name})
        return values

    @field_validator("stop")
    @classmethod
    def _check_stop(cls, value: str | list[str] | None) -> str | list[str] | None:
        texts = [value] if isinstance(value, str) else value or []
        if len(texts) > _MAX_STOPS or not all(0 < len(text) <= _MAX_STOP_LENGTH for text in texts):
            raise PydanticCustomError("stop", f"at most {_MAX_STOPS} texts of 1 to {_MAX_STOP_LENGTH} characters")
        return value

    @property
    def stops(self) -> list[str]:
        """Texts that end the answer."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return list(map(replace_half_surrogates, given))

    def choose_decoding(self, own: Decoding) -> Decoding:
        """Returns the model's settings with those of the request in their place."""
        asked: dict[str, Any] = {
            "max_new_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "sampling_seed": None if self.seed is None else self.seed % (1 << 63),
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
        }
        return replace(own, **{name: value for name, value in asked.items() if value is not None})

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with the counts of tokens."""
        return bool((self.stream_options or {}).get("include_usage"))


class _Part(BaseModel):
    type: Literal["text"]
    text: StrictStr


class _ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: StrictStr | list[_Part]

    def to_message(self) -> Message:
        text = self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, text)


class ChatRequest(_Request):
    """The body of `/v1/chat/completions`."""

    messages: list[_ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_completion_tokens: int | None = Field(None, ge=1)

    def list_messages(self) -> list[Message]:
        """Returns the messages; a developer's are the system's."""
        return [message.to_message() for message in self.messages]

    def choose_decoding(self, own: Decoding) -> Decoding:
        """Returns the model's settings with those of the request in their place."""
        chosen = super().choose_decoding(own)
        count = self.max_completion_tokens
        return chosen if count is None else replace(chosen, max_new_tokens=count)


class CompletionRequest(_Request):
    """The body of `/v1/completions`. Its text is read as a person's message: answers are guarded here, too."""

    prompt: StrictStr | list[StrictStr] = Field(min_length=1)

    def list_messages(self) -> list[Message]:
        """Returns the prompt as a message.

        Raises:
            InputError: There are several prompts.
        """
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if len(prompts) > 1:
            raise InputError("prompt: one text is answered, not several.", "Send a request for each.")
        return [Message("user", prompts[0])]


class Envelope:
    """The JSON around one answer.

    Args:
        kind: `chat` or `text`.
        model: Its name.
        request_id: Of the request, which the header `x-request-id` names too.
    """

    def __init__(self, kind: Literal["chat", "text"], model: str, request_id: str) -> None:
        self._is_chat = kind == "chat"
        self._head = {
            "id": f"{'chatcmpl' if self._is_chat else 'cmpl'}-{request_id}",
            "created": int(time.time()),
            "model": model,
        }

    def wrap(self, reply: Reply) -> dict[str, Any]:
        """Returns a whole answer."""
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": find_finish_reason(reply)}
        if self._is_chat:
            choice["message"] = {"role": "assistant", "content": reply.text, "refusal": None}
        else:
            choice["text"] = reply.text
        kind = "chat.completion" if self._is_chat else "text_completion"
        return {**self._head, "object": kind, "choices": [choice], "usage": count_usage(reply)}

    def wrap_piece(self, piece: str, is_first: bool = False, finish_reason: str | None = None) -> str:
        """Returns a piece of a stream, as a line of server-sent events."""
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": finish_reason}
        if self._is_chat:
            choice["delta"] = {"role": "assistant"} if is_first else {}
            choice["delta"] |= {} if finish_reason else {"content": piece}
        else:
            choice["text"] = piece
        return self._send({"choices": [choice]})

    def wrap_usage(self, reply: Reply) -> str:
        """Returns the last piece of a stream that counts tokens."""
        return self._send({"choices": [], "usage": count_usage(reply)})

    def _send(self, content: dict[str, Any]) -> str:
        kind = "chat.completion.chunk" if self._is_chat else "text_completion"
        return encode_event({**self._head, "object": kind, **content})


def encode_event(content: dict[str, Any]) -> str:
    """Returns JSON as a server-sent event."""
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def find_finish_reason(reply: Reply) -> str:
    """Returns `stop`, `length`, or `content_filter` where fixed advice stands for an answer."""
    if reply.generated is None:
        return "content_filter"
    return "length" if reply.generated.is_cut else "stop"


def count_usage(reply: Reply) -> dict[str, int]:
    """Returns the counts of tokens: those that the model read, and those that it wrote."""
    written = reply.generated.tokens if reply.generated else 0
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": written,
        "total_tokens": reply.prompt_tokens + written,
    }


def make_error(
    message: str, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Returns an error in the protocol's shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
