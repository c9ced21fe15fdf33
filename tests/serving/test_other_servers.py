"""Other programs over the same export: transformers' pipeline and its server, alone and behind the guard."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from lightning_med import Responder
from lightning_med.safety import guard
from tests.serving.server.live_server import wait_for

pytestmark = pytest.mark.slow  # each server is a process that imports torch

QUESTIONS = [
    "My tongue is sore and red since monday, what can I do?",
    "The cough will not stop at night.",
    "Why am I tired after work?",
]
DANGER = "crushing chest pain and my left arm is numb"


@dataclass
class Process:
    """A server in a process of its own."""

    child: subprocess.Popen[bytes]
    url: str
    log: Path

    def connect(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=120)

    def count_posts(self) -> int:
        return len(re.findall(r"POST /v1/", self.log.read_text()))


def start(command: list[str], log: Path) -> Process:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as file:
        child = subprocess.Popen([*command, "--port", str(port)], env=environment, stdout=file, stderr=file)
    process = Process(child, f"http://127.0.0.1:{port}", log)

    def is_ready() -> bool:
        assert child.poll() is None, log.read_text()
        try:
            return httpx2.get(f"{process.url}/health", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    wait_for(is_ready, 120, log.read_text)
    return process


def stop(process: Process) -> None:
    process.child.terminate()
    try:
        process.child.wait(15)
    except subprocess.TimeoutExpired:
        process.child.kill()
        process.child.wait()


@pytest.fixture(scope="module")
def transformers_server(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(exported), "--device", "cpu"]
    process = start([*command, "--log-level", "info"], tmp_path_factory.mktemp("transformers") / "log.txt")
    yield process
    stop(process)


def ask(client: openai.OpenAI, model: str, question: str, **options: Any) -> str:
    messages: Any = [{"role": "user", "content": question}]
    answer = client.chat.completions.create(model=model, messages=messages, **options)
    return str(answer.choices[0].message.content)


def test_pipeline_and_transformers_serve_answer_as_respond_without_safety(
    exported: Path, transformers_server: Process
) -> None:
    from transformers import pipeline

    responder = Responder.from_pretrained(exported, safety=False)
    raws = [answer.raw for answer in responder.respond_all(QUESTIONS)]
    generator = pipeline("text-generation", str(exported), dtype="float32")
    outputs = [generator([{"role": "user", "content": question}]) for question in QUESTIONS]
    assert [output[0]["generated_text"][-1]["content"].strip() for output in outputs] == raws
    client, count = transformers_server.connect(), responder.decoding.max_new_tokens
    texts = [ask(client, str(exported), question, max_tokens=count).strip() for question in QUESTIONS]
    assert texts == raws


def test_the_guard_stands_before_transformers_serve(
    exported: Path, transformers_server: Process, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "lightning_med", "serve", "--upstream", transformers_server.url]
    command += ["--upstream_model", str(exported), "--model", str(exported), "--region", "GB"]
    guarded = start(command, tmp_path / "log.txt")
    try:
        before = transformers_server.count_posts()
        client, name = guarded.connect(), str(exported)
        assert ask(client, name, DANGER) == guard(DANGER, "", "GB").answer
        assert transformers_server.count_posts() == before  # it never heard of it
        responder = Responder.from_pretrained(exported, "GB")
        assert ask(client, name, QUESTIONS[0]) == responder.respond(QUESTIONS[0]).answer
        assert transformers_server.count_posts() == before + 1
    finally:
        stop(guarded)


def test_serve_from_the_command_line(exported: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lightning_med", "serve", "--model", str(exported), "--region", "GB"]
    served = start([*command, "--engine", "transformers", "--dtype", "float32"], tmp_path / "log.txt")
    try:
        client = served.connect()
        name = client.models.list().data[0].id
        responder = Responder.from_pretrained(exported, "GB")
        assert [ask(client, name, question) for question in QUESTIONS] == [
            answer.answer for answer in responder.respond_all(QUESTIONS)
        ]
        port = served.url.rpartition(":")[2]
        second = subprocess.run([*command, "--port", port], capture_output=True, text=True, timeout=120)
        assert second.returncode == 2
        assert f"--port {port}: Address already in use." in second.stderr
        assert ask(client, name, QUESTIONS[0])
    finally:
        served.child.terminate()
    assert served.child.wait(30) == 143
    assert "Traceback" not in served.log.read_text()
