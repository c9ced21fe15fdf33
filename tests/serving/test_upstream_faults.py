"""Upstream servers that fail, lie or are none, and what a user is told."""

from __future__ import annotations

import json
import logging
import socket
from typing import Any

import pytest

from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.upstream.server import UpstreamServer
from lightning_med.serving.upstream.writer import UpstreamLimits, UpstreamWriter
from lightning_med.utils.errors import InputError, RunError, UnavailableError
from tests.serving.test_upstream import ASKED, connect
from tests.serving.upstream_server import (
    DONE,
    HANG,
    TEXT,
    Script,
    chunk,
    event,
    list_models,
    say,
    serve_upstream,
)

KEY = "sk-a-secret-of-nobody"
START = [chunk("", role="assistant"), chunk("Drink tea. ")]
JSON = "application/json"


def as_json(content: Any, status: int = 400, **settings: Any) -> Script:
    return Script([json.dumps(content).encode()], status, JSON, **settings)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (Script(START, cut=True), "connection to the upstream server"),
        (Script(START), "closed the connection in the middle"),
        (Script([]), "closed the connection in the middle"),
        (Script([*START, b"data: {not json}\n\n", chunk("More.", "stop")]), "not JSON"),
        (Script([*START, b"data: " + b"[" * 100_000 + b"\n\n"]), "not JSON"),
        (Script([*START, b"data: 7\n\n"]), "no part of an answer"),
        (Script([*START, b"data: " + b"x" * 1_100_000]), "a line without an end"),
        (Script([*START, event({"error": {"message": "out of memory", "code": 500}}), DONE]), "out of memory"),
        (Script([*START, event({"error": "out of memory"})]), "out of memory"),
        (Script([*START, event({"error": {"code": 507}})]), "507"),
        (Script([*START, event({"object": "error", "message": "out of memory"})]), "out of memory"),
        (Script([*START, b'error: {"code": 500, "message": "out of memory"}\n\n']), "out of memory"),
        (Script([*START, chunk(reason="abort"), DONE]), "broke the answer off"),
        (as_json({"error": {"message": "too \x1b[31m\nlong" + "g" * 500}}), r"HTTP 400: too \[31m longg{180,190}$"),
        (as_json({"detail": "Server is pinned"}), "HTTP 400: Server is pinned"),
        (as_json({"detail": [{"msg": "bad"}]}, 422), "HTTP 422: .*bad"),
        (Script([b"<html><h1>Bad gateway</h1>"], 502, "text/html"), "HTTP 502[.]$"),
        (Script([b"<html><h1>Bad gateway</h1>"] * 9_000, 503, "text/html"), "HTTP 503[.]$"),
        (as_json({"error": {"message": f"wrong {KEY}"}}, 401), "refuses the API key"),
        (as_json({"error": {"message": f"key {KEY} is over quota"}}, 429), "HTTP 429: key … is over quota"),
        (Script([], 307, headers={"Location": "http://127.0.0.1:1/elsewhere"}), "redirects"),
        (as_json({"choices": [{"message": {"content": "Drink tea."}}]}, 200), "but not with a stream"),
        (Script([b"<html>"], 200, "text/html"), "but not with a stream"),
    ],
)  # fmt: skip
def test_a_fault_is_told_and_holds_no_key(script: Script, message: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with connect(script, api_key=KEY) as (writer, upstream):
        reply = ChatService(writer).reply(ASKED)
        with pytest.raises(RunError, match=message) as caught:
            reply.wait()
        assert KEY not in str(caught.value)
        assert "<html>" not in str(caught.value)
        assert upstream.address not in str(caught.value)  # clients read it
        assert upstream.asked[0].headers["authorization"] == f"Bearer {KEY}"
        assert writer.load == (0, 0)
    assert KEY not in caplog.text


def test_a_server_that_fell_silent_is_left() -> None:
    with connect(Script([*START, HANG]), limits=UpstreamLimits(idle_seconds=0.3)) as (writer, upstream):
        stream = writer.write(ASKED, writer.decoding).stream
        with pytest.raises(RunError, match=r"sent nothing for 0[.]3 s"):
            stream.get_answer(20)
        assert upstream.gone.wait(20)


def test_a_server_that_only_keeps_the_connection_alive_is_left() -> None:
    def comments() -> Any:
        while True:
            yield b": keep-alive\n\n"

    limits = UpstreamLimits(total_seconds=0.3)
    with connect(Script(comments()), limits=limits) as (writer, upstream):
        with pytest.raises(RunError, match=r"longer than 0[.]3 s"):
            writer.write(ASKED, writer.decoding).stream.get_answer(20)
        assert upstream.gone.wait(20)


@pytest.mark.parametrize("cut", [False, True])
def test_a_connection_that_is_lost_after_the_end_loses_nothing(cut: bool) -> None:
    script = Script(say()[:-1] if cut else [*say()[:-1], HANG], cut=cut)
    limits = UpstreamLimits(idle_seconds=20 if cut else 1)  # the end of a server that hangs is waited for
    with connect(script, limits=limits) as (writer, _):
        whole = writer.write(ASKED, writer.decoding).stream.get_answer(20)
    assert (whole.text, whole.ended) == (TEXT, True)


def test_a_server_that_stops_after_the_start_is_told() -> None:
    with serve_upstream() as upstream:
        writer = UpstreamWriter(upstream.address)
    with pytest.raises(RunError, match="cannot be reached"):
        writer.write(ASKED, writer.decoding).stream.get_answer(20)
    writer.close()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/", "http://localhost:8000/v1"),
        (" https://gpu.clinic.org/v1/ ", "https://gpu.clinic.org/v1"),
        ("https://gpu.clinic.org/models/v1", "https://gpu.clinic.org/models/v1"),
        ("HTTP://[::1]:80", "http://[::1]:80/v1"),
    ],
)
def test_forms_of_addresses(url: str, address: str) -> None:
    assert UpstreamServer.from_url(url).address == address


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "127.0.0.1:8000", "ftp://host", "file:///v1", "http://", "http://host:99999", "http://[::1",
     "http://host/v1/chat/completions", "http://host/api", "http://host/v1?key=x", "http://host#v1",
     "http://me:secret@host", "http://secret@host/v1"],
)  # fmt: skip
def test_other_forms_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="address") as caught:
        UpstreamWriter(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "schlüssel"])
def test_keys_that_no_header_can_hold_are_refused(key: str) -> None:
    with pytest.raises(InputError, match="API key"):
        UpstreamServer.from_url("http://localhost:8000", key)


def test_a_server_that_is_shown_shows_no_key() -> None:
    assert KEY not in repr(UpstreamServer.from_url("http://localhost:8000", KEY))


def test_an_empty_system_prompt_is_refused() -> None:
    with pytest.raises(InputError, match="system_prompt"):
        UpstreamWriter("http://localhost:8000", system_prompt=" ")


@pytest.mark.parametrize(
    ("listed", "name", "chosen"),
    [
        (list_models("doctor"), None, "doctor"),
        (list_models("doctor", "doctor"), None, "doctor"),
        (list_models("doctor", "nurse"), "nurse", "nurse"),
        (list_models(), "nurse", "nurse"),
        (as_json({"detail": "no cache"}, 500), "nurse", "nurse"),
    ],
)
def test_the_model_is_the_given_or_the_only_one(listed: Script, name: str | None, chosen: str) -> None:
    with serve_upstream(models=listed) as upstream:
        writer = UpstreamWriter(upstream.address, name, KEY)
        writer.close()
        assert writer.model == chosen
        assert upstream.listed[0].path == "/v1/models"
        assert upstream.listed[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (list_models("doctor", "nurse"), "has 2 models: doctor, nurse"),
        (list_models(*(f"m{number}" for number in range(30))), "m9, …[.]"),
        (list_models(), "lists no model"),
        (as_json({"models": []}, 200), "no list of models"),
        (Script([b"<html>"], 200, "text/html"), "no list of models"),
        (Script([b"[" * 100_000], 200, JSON), "no list of models"),
        (Script([b" " * 100_000] * 12, 200, JSON), "no list of models"),
        (Script([b"<html>"], 404, "text/html"), "HTTP 404"),
        (as_json({"detail": "no cache"}, 500), "HTTP 500: no cache"),
        (as_json({"error": {"message": f"wrong {KEY}"}}, 401), "refuses the API key"),
        (Script([], 301, headers={"Location": "http://127.0.0.1:1/"}), "redirects"),
    ],
)
def test_other_servers_are_refused_at_the_start(listed: Script, message: str) -> None:
    with serve_upstream(models=listed) as upstream, pytest.raises(InputError, match=message) as caught:
        UpstreamWriter(upstream.address, api_key=KEY)
    assert KEY not in str(caught.value)
    assert caught.value.what.count("\n") == 0


def test_a_server_that_wants_a_key_says_so() -> None:
    listed = as_json({"error": "Unauthorized"}, 401)
    with serve_upstream(models=listed) as upstream, pytest.raises(InputError, match="wants an API key"):
        UpstreamWriter(upstream.address)


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    limits, listed = UpstreamLimits(connect_seconds=0.3), Script([b" ", HANG])
    with serve_upstream(models=listed) as upstream, pytest.raises(UnavailableError, match="did not answer within"):
        UpstreamWriter(upstream.address, limits=limits)


def test_a_server_that_is_down_is_unavailable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UnavailableError, match="cannot be reached"):
        UpstreamWriter(f"http://127.0.0.1:{port}")
