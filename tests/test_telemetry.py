"""Nothing calls home: the libraries' telemetry is off in every verb, and what is started connects to nobody."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import httpx2
import pytest

from lightning_med.utils.telemetry import VARIABLES, switch_off_telemetry
from tests import tiny
from tests.conftest import ROOT
from tests.serving.server.live_server import wait_for

QUESTION = "My tongue is sore, what can I do?"


def make_environment(folder: Path, **own: str) -> dict[str, str]:
    """An environment without settings of this one, in which every folder to write into is `folder`."""
    places = dict.fromkeys(("HOME", "TMPDIR", "LIGHTNING_MED_CACHE"), str(folder))
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **places, **own}


@cache
def can_trace() -> bool:
    tried = shutil.which("strace") and subprocess.run(["strace", "-qq", "true"], capture_output=True, timeout=30)
    return bool(tried) and tried.returncode == 0


@contextmanager
def trace(folder: Path, *argv: object, **own: str) -> Iterator[subprocess.Popen[str]]:
    """Runs the command; afterwards it may have connected to nobody but by local sockets, where that can be seen."""
    log = folder.with_suffix(".strace")
    tracer = ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(log)] if can_trace() else []
    command = [*tracer, sys.executable, "-m", "lightning_med", *map(str, argv)]
    environment = make_environment(folder, **own)
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)
    if tracer:
        calls = log.read_text("utf-8", "replace").splitlines()
        assert not [call for call in calls if re.search(r"connect\(.*AF_INET|sendto\(.*sin_", call)]


def require_trace() -> None:
    """Skips the rest of a test whose connections could not be seen, so that this is said."""
    if not can_trace():
        pytest.skip("strace is missing or may not trace: whom the command connected to was not seen")


def test_what_the_user_has_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    switch_off_telemetry()
    assert {name: os.environ[name] for name in VARIABLES} == {**VARIABLES, "ORT_DISABLE_TELEMETRY": "0"}


def test_the_package_sets_the_variables_before_it_imports_a_library(tmp_path: Path) -> None:
    code = "import lightning_med, json, os, sys; print(json.dumps([dict(os.environ), list(sys.modules)]))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=make_environment(tmp_path), check=True, timeout=120, capture_output=True)
    environment, modules = json.loads(done.stdout)
    assert {name: environment.get(name) for name in VARIABLES} == VARIABLES
    assert not {"torch", "transformers", "huggingface_hub", "onnxruntime", "gradio"} & set(modules)


@pytest.mark.slow
def test_the_libraries_read_them(tmp_path: Path) -> None:
    code = (
        "import lightning_med, sys; from huggingface_hub import constants; from datasets import config;"
        "assert constants.HF_HUB_DISABLE_TELEMETRY and not config.HF_UPDATE_DOWNLOAD_COUNTS;"
        "from gradio import analytics; assert not analytics.analytics_enabled()"
    )
    pytest.importorskip("gradio")
    subprocess.run([sys.executable, "-c", code], env=make_environment(tmp_path), check=True, timeout=120)


def test_triage_keeps_nothing_and_calls_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    with trace(folder, "triage", QUESTION) as process:
        assert '"ordinary"' in process.communicate(timeout=120)[0]
    assert not list(folder.iterdir())
    require_trace()


@pytest.mark.slow
def test_a_server_keeps_no_text_and_calls_nobody(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("gradio")
    model = tiny.finished_export(tmp_path_factory.getbasetemp() / "tiny")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder, url = tmp_path / "home", f"http://127.0.0.1:{port}"
    folder.mkdir()
    with trace(folder, "serve", "--model", model, "--engine", "transformers", "--port", port):
        wait_for(lambda: answers(f"{url}/health"), 120)
        said = {"messages": [{"role": "user", "content": QUESTION}], "user": QUESTION}
        assert httpx2.post(f"{url}/v1/chat/completions?q=tongue", json=said, timeout=60).status_code == 200
        question: Mapping[str, object] = {"fn_index": 0, "session_hash": "tab", "data": [QUESTION, None]}
        httpx2.post(f"{url}/gradio_api/queue/join", json=question, timeout=60).raise_for_status()
        assert "tongue" in httpx2.get(f"{url}/gradio_api/queue/data?session_hash=tab", timeout=60).text
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {str(path.relative_to(folder).parent) for path in files} <= {".cache/matplotlib"}
    assert not [path for path in files if b"tongue" in path.read_bytes()]
    require_trace()


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=60).status_code == 200
    except httpx2.TransportError:
        return False
