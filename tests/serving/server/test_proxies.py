"""The configs of nginx and Caddy in docs/deployment.md, with TLS before the server: streams, sizes, whose pace counts."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("gradio")

from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.server.app import ServerSettings, make_app
from tests.conftest import ROOT
from tests.serving.scripted_model import ANSWER
from tests.serving.server import page_fixtures as fixtures
from tests.serving.server.live_server import serve_app, wait_for

pytestmark = pytest.mark.slow
NAME = "doctor.example"
QUESTION = {"messages": [{"role": "user", "content": "My tongue is sore since two days."}]}
FIRST = ANSWER.partition(".")[0]
RATE = 8
KEY = {"authorization": "Bearer secret"}


@dataclass
class Proxy:
    """A proxy before a server.

    Attributes:
        port: That it listens at, with TLS.
        writer: The model of the server.
    """

    port: int
    writer: fixtures.StepWriter

    @property
    def address(self) -> str:
        return f"https://{NAME}:{self.port}"

    def connect(self, client: str) -> httpx2.Client:
        """A client at an address of this machine."""
        transport = httpx2.HTTPTransport(verify=False, local_address=client)
        return httpx2.Client(transport=transport, base_url=f"https://127.0.0.1:{self.port}", timeout=30)

    def post(self, client: httpx2.Client, **options: Any) -> httpx2.Response:
        headers = {"host": f"{NAME}:{self.port}", **KEY, **options.pop("headers", {})}
        extensions = {"sni_hostname": NAME}
        body = {"json": QUESTION} | options
        return client.post("/v1/chat/completions", headers=headers, extensions=extensions, **body)


def read_config(language: str) -> str:
    text = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    (config,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)
    return config


def find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def make_certificate(folder: Path) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    names = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run([*new, *names, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return key, certificate


def write_nginx(folder: Path, port: int, server: str) -> list[str]:
    """Writes the config with these ports and files; returns the command."""
    key, certificate = make_certificate(folder)
    config = read_config("nginx")
    for old, new in (
        ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ("listen 80;", f"listen 127.0.0.1:{find_port()};"),
        ("/etc/ssl/doctor.example/fullchain.pem", str(certificate)),
        ("/etc/ssl/doctor.example/key.pem", str(key)),
        ("/var/log/nginx/", f"{folder}/"),
        ("http://127.0.0.1:8000", server),
    ):
        assert config.count(old) == 1, old
        config = config.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    head = f"pid {folder}/nginx.pid;\nerror_log {folder}/error.log;\ndaemon off;\nevents {{}}\n"
    (folder / "nginx.conf").write_text(f"{head}http {{\n{paths}{config}}}\n", "utf-8")
    return ["nginx", "-e", f"{folder}/error.log", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def write_caddy(folder: Path, port: int, server: str) -> list[str]:
    """Writes the config with these ports and files; returns the command."""
    key, certificate = make_certificate(folder)
    config = read_config("caddy").replace(
        f"{NAME} {{", f"https://{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {certificate} {key}"
    )
    config = config.replace("127.0.0.1:8000", server.removeprefix("http://"))
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\n{config}", "utf-8")
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    program = request.param
    if shutil.which(program) is None:
        pytest.skip(f"no {program}")
    writer = fixtures.StepWriter()
    settings = ServerSettings(
        "m", rate=RATE, api_key="secret", login=("ward", "secret"), hosts=("127.0.0.1",), public_name=NAME,
        proxies=(ip_network("127.0.0.1"),),
    )  # fmt: skip
    folder, port = tmp_path_factory.mktemp(program), find_port()
    with serve_app(make_app(ChatService(writer, "GB"), settings)) as server:
        command = {"nginx": write_nginx, "caddy": write_caddy}[program](folder, port, server)
        environment = {"PATH": "/usr/sbin:/usr/bin:/bin", "HOME": str(folder)}
        process = subprocess.Popen(command, env=environment, stderr=(folder / "stderr").open("wb"))
        try:
            wait_for(lambda: is_open(port), explain=(folder / "stderr").read_text)
            yield Proxy(port, writer)
        finally:
            process.terminate()
            process.wait(20)
    if program == "nginx":
        log = (folder / "lightning-med.log").read_text("utf-8")
        assert "POST /v1/chat/completions 200" in log
        assert "127.0.0" not in log
        assert "buffered to a temporary file" not in (folder / "error.log").read_text("utf-8")


def is_open(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(autouse=True)
def writer(proxy: Proxy) -> Iterator[fixtures.StepWriter]:
    proxy.writer.reset()
    yield proxy.writer
    proxy.writer.gate.set()


def test_a_stream_comes_while_the_model_writes(proxy: Proxy, writer: fixtures.StepWriter) -> None:
    writer.gate.clear()
    writer.gate.let(15)
    with proxy.connect("127.0.0.4") as client:
        headers, extensions = {"host": f"{NAME}:{proxy.port}", **KEY}, {"sni_hostname": NAME}
        body = {**QUESTION, "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body, headers=headers, extensions=extensions) as reply:
            pieces, read = reply.iter_text(), ""
            while FIRST not in read:
                read += next(pieces)
            assert not writer.streams[0].is_done
            writer.gate.set()
            assert "".join(pieces).endswith("data: [DONE]\n\n")
        assert reply.headers["x-request-id"]


def test_each_person_has_a_pace_of_their_own_whatever_they_claim(proxy: Proxy) -> None:
    with proxy.connect("127.0.0.2") as one, proxy.connect("127.0.0.3") as other:
        claims = [{"x-forwarded-for": f"192.0.2.{number}"} for number in range(RATE + 1)]
        statuses = [proxy.post(one, headers=claim).status_code for claim in claims]
        assert statuses == [200] * RATE + [429]
        assert proxy.post(other).status_code == 200


def test_a_long_question_passes_and_a_large_request_is_refused(proxy: Proxy) -> None:
    with proxy.connect("127.0.0.5") as client:
        before = [*QUESTION["messages"], {"role": "assistant", "content": "x" * 19_000}] * 45
        reply = proxy.post(client, json={"messages": [*before, *QUESTION["messages"]]})
        assert reply.status_code == 200, reply.text
        try:
            status = proxy.post(client, content=b"x" * 1_200_000).status_code
        except (httpx2.RemoteProtocolError, httpx2.NetworkError):
            status = 502
        assert status in (413, 502)  # where the server ends the connection early, Caddy says the latter or breaks off


@pytest.mark.skipif(fixtures.BROWSER is None, reason="no Chromium")
def test_the_page_answers_in_a_stream(proxy: Proxy, writer: fixtures.StepWriter) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    arguments = ["--no-sandbox", f"--host-resolver-rules=MAP {NAME} 127.0.0.1", "--ignore-certificate-errors"]
    writer.gate.clear()
    writer.gate.let(15)
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=fixtures.BROWSER, args=arguments, timeout=60_000)
        context = chromium.new_context(http_credentials={"username": "ward", "password": "secret"})
        page, faults = context.new_page(), list[str]()
        page.on("console", lambda message: fixtures._note_fault(fixtures.Seen(page, faults=faults), message))
        page.goto(proxy.address)
        page.wait_for_selector("#question textarea")
        fixtures.Seen(page).ask("My tongue is sore since two days.")
        answer = fixtures.Seen(page).bubble("bot")
        playwright.expect(answer).to_contain_text(FIRST, timeout=20_000)
        assert not writer.streams[0].is_done
        writer.gate.set()
        playwright.expect(answer).to_contain_text(DISCLAIMER, timeout=20_000)
        assert page.evaluate("isSecureContext && location.protocol") == "https:"
        assert not [fault for fault in faults if "401" not in fault]
        chromium.close()
