"""What reaches the page from outside, and what its answers allow a browser."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import pytest

pytest.importorskip("gradio")

from fastapi import FastAPI
from starlette.testclient import TestClient

from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.server import app as serve_app
from lightning_med.serving.server.page_security import add_security, require_login
from tests.serving.scripted_model import ScriptedWriter
from tests.serving.server.page_fixtures import make_app

HOST = "http://127.0.0.1:8000"
JOIN = "/gradio_api/queue/join"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(make_app(ScriptedWriter()), base_url=HOST) as client:
        yield client


def test_scripts_run_with_a_nonce_of_one_use_only(client: TestClient) -> None:
    nonces = set()
    for _ in range(2):
        answer = client.get("/", headers={"accept-encoding": "br, gzip"})
        assert answer.status_code == 200
        [nonce] = re.findall(r"'nonce-([\w-]+)'", answer.headers["content-security-policy"])
        scripts = re.findall(r"<script[^>]*>", answer.text)
        assert scripts
        assert all(f'nonce="{nonce}"' in script for script in scripts)
        assert "<i>" not in answer.text  # of the model's name
        assert answer.headers["cache-control"] == "no-store"
        nonces.add(nonce)
    assert len(nonces) == 2


def test_every_answer_has_headers_that_protect(client: TestClient) -> None:
    for path in ("/", "/theme.css", "/health", "/v1/models", "/no-such-page"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy
        assert not re.search(r"script-src[^;]*unsafe", policy)


def test_only_the_paths_of_the_page_exist(client: TestClient) -> None:
    for path in ("/theme.css", "/health", "/metrics", "/v1/models"):
        assert client.get(path).status_code == 200, path
    assert client.head("/").status_code in (200, 405)
    closed = [
        "/gradio_api/file=https://example.com/", "/gradio_api/file=/etc/passwd", "/gradio_api/proxy=http://x/",
        "/gradio_api/info", "/gradio_api/openapi.json", "/gradio_api/startup-events", "/gradio_api/call/ask",
        "/config", "/login", "/monitoring", "/docs", "/openapi.json", "/assets/..%2f..%2fx", "/static/..%5cx",
        "/healthy", "/v1", "/gradio_api/queue/data/x",
    ]  # fmt: skip
    for path in closed:
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (404, "Not found."), path
    for path in ("/gradio_api/upload", "/gradio_api/run/ask", "/gradio_api/component_server", "/", "/theme.css"):
        assert client.post(path).text == "Not found.", path
    assert client.get(JOIN).status_code == 404
    assert client.options(JOIN).status_code == 404


def test_requests_of_other_sites_are_refused(client: TestClient) -> None:
    foreign = ({"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:9"})
    for headers in (*foreign, {"sec-fetch-site": "cross-site"}, {"origin": HOST, "sec-fetch-site": "same-site"}):
        for path in (JOIN, "/gradio_api/cancel", "/gradio_api/reset"):
            assert client.post(path, json={}, headers=headers).status_code == 403, headers
    for headers in ({}, {"origin": HOST, "sec-fetch-site": "same-origin"}):
        assert client.post(JOIN, json={}, headers=headers).status_code not in (403, 404), headers
    answer = client.get("/theme.css", headers={"origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_server_on_this_machine_has_its_own_names_only(client: TestClient) -> None:
    for host in ("127.0.0.1", "localhost:8000", "LOCALHOST"):
        assert client.get("/v1/models", headers={"host": host}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example:8000", "", "[::1", "evil.example:80@localhost:80:80"):
        assert client.get("/v1/models", headers={"host": host}).status_code == 421, host


def make_plain_app(hosts: list[str] | None, login: tuple[str, str] | None = None) -> FastAPI:
    app = FastAPI()
    for path in ("/", "/health", "/metrics", "/v1/models"):
        app.get(path)(lambda: "reached")
    if login:
        require_login(app, *login)
    add_security(app, hosts)
    return app


def test_a_public_server_has_any_name_and_brackets_are_understood() -> None:
    assert TestClient(make_plain_app(None), base_url="http://any.example").get("/health").text == '"reached"'
    local = TestClient(make_plain_app(["::1"]))
    assert local.get("/health", headers={"host": "[::1]:8000"}).status_code == 200
    assert local.get("/health", headers={"host": "[::2]:8000"}).status_code == 421


def test_the_page_asks_for_a_login_and_the_api_for_its_key_only() -> None:
    client = TestClient(make_plain_app(None, ("ward", "pass:wörd")))
    for path in ("/health", "/metrics", "/v1/models"):
        assert client.get(path).status_code == 200
    refused = client.get("/")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert "content-security-policy" in refused.headers
    right = base64.b64encode("ward:pass:wörd".encode()).decode()
    for given in ("", "Basic", "Basic ", f"Bearer {right}", "Basic %%%", "Basic d2FyZDp4", f"Basic {right}x", right):
        assert client.get("/", headers={"authorization": given}).status_code == 401, given
    assert client.get("/", headers={"authorization": f"Basic {right}"}).text == '"reached"'
    assert client.get("/assets/app.js").status_code == 401


def test_a_proxy_on_this_machine_is_called_by_its_own_name() -> None:
    service = ChatService(ScriptedWriter(), "GB")
    app = serve_app.make_app(
        service, serve_app.ServerSettings("tiny", hosts=("127.0.0.1",), public_name="doctor.example")
    )
    origin = {"origin": "https://doctor.example"}
    with TestClient(app, base_url=HOST) as client:
        for name in ("doctor.example", "127.0.0.1:8000"):  # as the browser calls it, or as the proxy does
            assert client.get("/health", headers={"host": name}).status_code == 200
            assert client.post(JOIN, json={}, headers={"host": name, **origin}).status_code != 403
        assert client.get("/health", headers={"host": "evil.example"}).status_code == 421
        assert client.post(JOIN, json={}, headers={"origin": "https://evil.example"}).status_code == 403
