"""The whole way: a client of our server, our server, and the upstream server behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.server.api import ServerState, add_api
from lightning_med.serving.server.limits import Capacity
from lightning_med.serving.server.metrics import Metrics
from tests.serving.test_upstream import QUESTION, connect
from tests.serving.upstream_server import TEXT, Script, Upstream, chunk, event, say


@contextmanager
def serve(script: Script | None = None) -> Iterator[tuple[TestClient, Upstream]]:
    """A client of our server before a stand-in."""
    with connect(script) as (writer, upstream):
        service, app = ChatService(writer, region="GB"), FastAPI()
        add_api(app, ServerState(service, "lightning_med", Metrics(lambda: service.load), Capacity(5)))
        with TestClient(app, raise_server_exceptions=False) as client:
            yield client, upstream


def ask(client: TestClient, text: str = QUESTION, **fields: Any) -> Any:
    return client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": text}], **fields})


def test_a_client_gets_the_guarded_answer_and_the_upstream_servers_counts() -> None:
    with serve() as (client, upstream):
        body = ask(client, temperature=0.5, max_tokens=40, seed=7).json()
        assert body["choices"][0]["message"]["content"].startswith(TEXT)
        assert body["usage"] == {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50}
        sent = upstream.asked[0].fields
        assert (sent["temperature"], sent["max_tokens"], sent["seed"]) == (0.5, 40, 7)
        assert sent["model"] == "doctor"


def test_a_stream_ends_with_the_counts() -> None:
    with serve(Script(say(reason="length"))) as (client, _):
        text = ask(client, stream=True, stream_options={"include_usage": True}).text
        assert '"finish_reason": "length"' in text
        assert '"prompt_tokens": 30' in text
        assert text.endswith("data: [DONE]\n\n")


def test_an_emergency_is_answered_without_the_upstream_server() -> None:
    with serve() as (client, upstream):
        body = ask(client, "I have crushing chest pain and cannot breathe.").json()
        assert body["choices"][0]["finish_reason"] == "content_filter"
        assert "999" in body["choices"][0]["message"]["content"]
        assert upstream.asked == []


def test_a_fault_of_the_upstream_server_is_a_bad_gateway() -> None:
    script = Script([chunk("Drink tea. "), event({"error": {"message": "out of memory"}})])
    with serve(script) as (client, _):
        reply = ask(client)
        assert reply.status_code == 502
        assert "out of memory" in reply.json()["error"]["message"]
        assert '"error"' in ask(client, stream=True).text
