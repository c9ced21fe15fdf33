"""Kaggle and the Hub, spoken to on this machine: what arrives, and what is said when nothing does."""

from __future__ import annotations

import hashlib
import io
import json
import re
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from lightning_med.data.tokens import restore_tokenizer, store_tokenizer

TABLE = "input,output\nMy tongue hurts.,Rinse with salt water.\n"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
KAGGLE_PORT = 7777  # kagglehub knows no other for KAGGLE_API_ENVIRONMENT=TEST
DOORS = """
import json, sys
from lightning_med.errors import InputError
what, name = sys.argv[1:]
try:
    if what == "source":
        from lightning_med.data.sources import resolve
        told = {"files": {path.name: path.read_text(encoding="utf-8") for path in resolve(name)}}
    else:
        import time
        time.sleep = lambda seconds: None  # the Hub's client waits between its tries
        from lightning_med.data.tokens import load_tokenizer, store_tokenizer
        told = {"tokenizer": store_tokenizer(load_tokenizer(name))}
except InputError as error:
    told = {"what": error.what, "mend": error.mend}
print("\\n" + json.dumps(told))
"""


@dataclass
class Reply:
    """What a server answers."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


Answer = Callable[[str, dict[str, Any]], Reply]


@contextmanager
def serving(answer: Answer, port: int = 0) -> Iterator[str]:
    """A server on this machine that answers every request by `answer(path, body)`; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            reply = answer(self.path.split("?")[0], json.loads(body) if body else {})
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Content-Length", str(len(reply.body)))
            for name, value in reply.headers:
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        do_HEAD = do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Fetches a source or a tokenizer in a process with a home of its own, as libraries read their settings once."""

    def run(what: str, name: str, **settings: str) -> dict[str, Any]:
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "HF_HOME": str(home / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "KAGGLEHUB_CACHE": str(home / "kaggle"),
            "NO_PROXY": "*",
            "TRANSFORMERS_VERBOSITY": "error",
            **settings,
        }
        command = [sys.executable, "-c", DOORS, what, name]
        done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def is_one_line(text: str) -> bool:
    return bool(text) and "\n" not in text and "Traceback" not in text


# The Hub


def hub(files: dict[str, str], kind: str, name: str) -> Answer:
    """A Hub that holds one repository; `kind` is `datasets` or `models`."""
    at = f"/{name}" if kind == "models" else f"/{kind}/{name}"
    missing = Reply(
        404, b'{"error": "Repository not found"}', headers=(("X-Error-Code", "RepoNotFound"), ("X-Repo-Commit", COMMIT))
    )

    def answer(path: str, _: dict[str, Any]) -> Reply:
        listing = [
            {"type": "file", "path": file, "size": len(text), "oid": hashlib.sha1(text.encode()).hexdigest()}
            for file, text in files.items()
        ]
        if re.fullmatch(rf"/api/{kind}/{name}(/revision/\w+)?", path):
            known = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
            return Reply(body=json.dumps(known).encode())
        if path.startswith(f"/api/{kind}/{name}/tree/"):
            return Reply(body=json.dumps(listing).encode())
        if found := re.fullmatch(rf"{at}/resolve/\w+/(.+)", path):
            file = found[1]
            if file not in files:
                return Reply(404, headers=(("X-Error-Code", "EntryNotFound"), ("X-Repo-Commit", COMMIT)))
            text = files[file].encode()
            return Reply(
                body=text,
                kind="text/plain",
                headers=(("ETag", f'"{hashlib.sha1(text).hexdigest()}"'), ("X-Repo-Commit", COMMIT)),
            )
        return missing

    return answer


def test_hub_data_set_arrives_as_tables_without_the_rest(ask: Callable[..., dict[str, Any]]) -> None:
    files = {"data/train.csv": TABLE, "README.md": "# Consultations", "weights.bin": "0000"}
    with serving(hub(files, "datasets", "clinic/consultations")) as address:
        told = ask("source", "hub:clinic/consultations", HF_ENDPOINT=address)
    assert told == {"files": {"train.csv": TABLE}}


def test_hub_data_set_once_fetched_is_read_without_the_hub(ask: Callable[..., dict[str, Any]]) -> None:
    with serving(hub({"train.csv": TABLE}, "datasets", "clinic/consultations")) as address:
        ask("source", "hub:clinic/consultations", HF_ENDPOINT=address)
    told = ask("source", "hub:clinic/consultations", HF_ENDPOINT=address, HF_HUB_OFFLINE="1")
    assert told == {"files": {"train.csv": TABLE}}


def test_hub_data_set_without_tables(ask: Callable[..., dict[str, Any]]) -> None:
    with serving(hub({"README.md": "nothing"}, "datasets", "clinic/consultations")) as address:
        told = ask("source", "hub:clinic/consultations", HF_ENDPOINT=address)
    assert "hub:clinic/consultations holds no table" in told["what"]
    assert ".csv" in told["mend"]


def test_hub_data_set_that_is_not_there(ask: Callable[..., dict[str, Any]]) -> None:
    with serving(hub({}, "datasets", "clinic/other")) as address:
        told = ask("source", "hub:clinic/consultations", HF_ENDPOINT=address)
    assert "hub:clinic/consultations" in told["what"]
    assert "no such public repository" in told["what"]
    assert "--data.source FOLDER" in told["mend"]
    assert is_one_line(told["what"])


@pytest.mark.parametrize(("what", "name"), [("source", "hub:clinic/consultations"), ("tokenizer", "clinic/words")])
def test_hub_unreachable_names_the_endpoint_and_the_local_way(
    ask: Callable[..., dict[str, Any]], what: str, name: str
) -> None:
    endpoint = f"http://127.0.0.1:{closed_port()}"
    told = ask(what, name, HF_ENDPOINT=endpoint)
    assert name in told["what"]
    assert endpoint in told["what"]
    assert f"--data.{what} FOLDER" in told["mend"]
    assert is_one_line(told["what"])


def test_hub_name_that_cannot_be_one(ask: Callable[..., dict[str, Any]]) -> None:
    told = ask("source", "hub:a/b/c", HF_ENDPOINT="http://127.0.0.1:9")
    assert "hub:a/b/c" in told["what"]
    assert "--data.source FOLDER" in told["mend"]


def tokenizer_files(tokenizer: PreTrainedTokenizerFast, folder: Path) -> dict[str, str]:
    tokenizer.save_pretrained(folder)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_hub_tokenizer_arrives(
    ask: Callable[..., dict[str, Any]], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    files = {**tokenizer_files(tokenizer, tmp_path / "saved"), "config.json": '{"model_type": "gpt2"}'}
    with serving(hub(files, "models", "clinic/words")) as address:
        told = ask("tokenizer", "clinic/words", HF_ENDPOINT=address)
    fetched = restore_tokenizer(told["tokenizer"])
    assert fetched.get_vocab() == tokenizer.get_vocab()
    assert json.loads(store_tokenizer(fetched)) == json.loads(store_tokenizer(tokenizer))


def test_tokenizer_that_is_not_on_the_hub(ask: Callable[..., dict[str, Any]]) -> None:
    with serving(hub({}, "models", "clinic/other")) as address:
        told = ask("tokenizer", "clinic/words", HF_ENDPOINT=address)
    assert "clinic/words" in told["what"]
    assert "--data.tokenizer FOLDER" in told["mend"]


# Kaggle


def packed(files: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def kaggle(download: Reply, view: Reply | None = None) -> Answer:
    """A Kaggle with one data set, `clinic/consultations`."""

    def answer(path: str, body: dict[str, Any]) -> Reply:
        if (body.get("ownerSlug"), body.get("datasetSlug")) != ("clinic", "consultations"):
            return Reply(404, b'{"code": 404, "message": "Not found"}')
        if path.endswith("/GetDataset"):
            return view or Reply(body=b'{"currentVersionNumber": 3}')
        return download if path.endswith("/DownloadDataset") else Reply(404)

    return answer


@pytest.fixture
def kaggle_port() -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", KAGGLE_PORT))
        except OSError:
            pytest.skip(f"port {KAGGLE_PORT} is taken, and kagglehub's test setting knows no other")
    return KAGGLE_PORT


def ask_kaggle(ask: Callable[..., dict[str, Any]], name: str = "clinic/consultations") -> dict[str, Any]:
    return ask("source", f"kaggle:{name}", KAGGLE_API_ENVIRONMENT="TEST")


def test_kaggle_data_set_arrives_and_stays(ask: Callable[..., dict[str, Any]], kaggle_port: int) -> None:
    archive = Reply(body=packed({"dialogues.csv": TABLE, "notes.txt": "no table"}), kind="application/zip")
    with serving(kaggle(archive), kaggle_port):
        assert ask_kaggle(ask) == {"files": {"dialogues.csv": TABLE}}
    with serving(kaggle(Reply(500)), kaggle_port):  # the second time only the version is asked for
        assert ask_kaggle(ask) == {"files": {"dialogues.csv": TABLE}}


@pytest.mark.parametrize("status", [401, 403])
def test_kaggle_without_credentials(ask: Callable[..., dict[str, Any]], kaggle_port: int, status: int) -> None:
    refused = Reply(status, json.dumps({"code": status, "message": "Permission denied"}).encode())
    with serving(kaggle(refused, refused), kaggle_port):
        told = ask_kaggle(ask)
    assert "kaggle:clinic/consultations" in told["what"]
    assert str(status) in told["what"]
    assert "KAGGLE_USERNAME" in told["mend"]
    assert "--data.source FILE.csv" in told["mend"]
    assert is_one_line(told["what"])


def test_kaggle_data_set_that_is_not_there(ask: Callable[..., dict[str, Any]], kaggle_port: int) -> None:
    with serving(kaggle(Reply(500)), kaggle_port):
        told = ask_kaggle(ask, "clinic/nothing")
    assert "kaggle:clinic/nothing" in told["what"]
    assert "404" in told["what"]
    assert "kaggle.com/datasets/clinic/nothing" in told["mend"]
    assert "--data.source FILE.csv" in told["mend"]


def test_kaggle_unreachable(ask: Callable[..., dict[str, Any]], kaggle_port: int) -> None:
    told = ask_kaggle(ask)
    assert "kaggle:clinic/consultations: Kaggle cannot be reached" in told["what"]
    assert "--data.source FILE.csv" in told["mend"]
    assert is_one_line(told["what"])


def test_kaggle_name_that_cannot_be_one(ask: Callable[..., dict[str, Any]]) -> None:
    told = ask_kaggle(ask, "consultations")
    assert "kaggle:consultations is not a data set's name" in told["what"]
    assert "kaggle:OWNER/NAME" in told["mend"]


@pytest.mark.parametrize("body", [packed({"dialogues.csv": TABLE * 50})[:-40], b"<html>Sign in to this network</html>"])
def test_kaggle_download_that_is_no_archive(ask: Callable[..., dict[str, Any]], kaggle_port: int, body: bytes) -> None:
    """The name was right: what is said must be about the download, not about the name."""
    with serving(kaggle(Reply(body=body, kind="application/zip")), kaggle_port):
        told = ask_kaggle(ask)
    assert "kaggle:clinic/consultations" in told["what"]
    assert "is not a data set's name" not in told["what"]
    assert "--data.source FILE.csv" in told["mend"]


def test_kaggle_behind_a_login_page(ask: Callable[..., dict[str, Any]], kaggle_port: int) -> None:
    page = Reply(body=b"<html>Sign in to this network</html>", kind="text/html")
    with serving(kaggle(page, page), kaggle_port):
        told = ask_kaggle(ask)
    assert "is not a data set's name" not in told["what"]
    assert "--data.source FILE.csv" in told["mend"]


def test_kaggle_credentials_that_are_broken(
    ask: Callable[..., dict[str, Any]], kaggle_port: int, tmp_path: Path
) -> None:
    folder = tmp_path / "home" / ".kaggle"
    folder.mkdir(parents=True)
    (folder / "kaggle.json").write_text("{not json")
    told = ask_kaggle(ask)
    assert "kaggle.json" in told["what"] + told["mend"]
    assert "is not a data set's name" not in told["what"]
