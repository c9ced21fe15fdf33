"""Servers of the scripts: they are asked without a proxy, not longer than is allowed, and nothing of them is left."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Script = Callable[[str], ModuleType]
SERVER = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "PORT"]


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that answers nothing."""
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def start(commands: str) -> subprocess.Popen[bytes]:
    """Starts a shell with a group of its own, and waits for its first line."""
    process = subprocess.Popen(["sh", "-c", commands], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    return process


@pytest.mark.usefixtures("proxy")
def test_a_server_is_asked_without_a_proxy_and_ends_with_the_context(script: Script, tmp_path: Path) -> None:
    with script("local_servers").run_server(SERVER, ["/", "/"], tmp_path) as address:
        port = int(address.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port), 10).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 10)


def test_what_a_server_wrote_before_it_ended_is_in_the_error(script: Script) -> None:
    servers = script("local_servers")
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with pytest.raises(servers.ServerError, match="no such model"), servers.run_server(command, ["/"]):
        pass


def test_an_answer_is_not_waited_for_without_end(script: Script) -> None:
    servers = script("local_servers")
    process = start("echo up; exec sleep 600")
    try:
        assert not servers.wait_until_ready(process, f"http://127.0.0.1:{servers.find_free_port()}/", 0.01)
        assert process.poll() is None
    finally:
        servers.stop_group(process, signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    "commands",
    ["sleep 600 & echo up", "sleep 600 & echo up; wait", "trap '' INT; echo up; sleep 600; sleep 600"],
    ids=["the leader has ended", "the leader waits", "the signal is ignored"],
)
def test_nothing_of_a_group_is_left(script: Script, commands: str) -> None:
    process = start(commands)
    if "wait" not in commands and "trap" not in commands:
        process.wait()
    script("local_servers").stop_group(process, signal.SIGINT, 0.2)
    assert process.returncode is not None
    assert process.stdout
    assert process.stdout.read() == b""  # it ends when the last process that holds it has ended
