"""A Hub, a Kaggle and their storage on this machine; and processes that knock at them with settings of their own."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Request:
    """What a server was asked."""

    method: str
    path: str
    headers: dict[str, str]  # their names in lower case
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """The body, where it is JSON."""
        return json.loads(self.body) if self.body else {}


@dataclass
class Reply:
    """What a server answers.

    Attributes:
        sent: Bytes of the body after which the line goes dead; all where None.
        told: Whether the length is told beforehand.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    sent: int | None = None
    told: bool = True


Answer = Callable[[Request], Reply]


@dataclass
class Server:
    """A server's address and what it was asked, in order."""

    address: str
    seen: list[Request] = field(default_factory=list)

    def asked(self, method: str = "GET", part: str = "") -> list[Request]:
        """The requests of one method whose path holds a part."""
        return [request for request in self.seen if request.method == method and part in request.path]


@contextmanager
def serving(answer: Answer, port: int = 0) -> Iterator[Server]:
    """A server on this machine, on a free port if none is named; it answers every request by `answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            names = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path.split("?")[0], names, body)
            place.seen.append(request)
            reply = answer(request)
            self.send_response(reply.status)
            length = {"Content-Length": str(len(reply.body))} if reply.told else {}
            for name, value in {"Content-Type": "application/json", **length, **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body[: reply.sent])

        do_HEAD = do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    place = Server(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield place
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def storage(
    files: dict[str, bytes], cuts: Sequence[int] = (), ranges: bool = True, forever: bool = False, told: bool = True
) -> Answer:
    """Where the files themselves lie.

    Args:
        files: By path.
        cuts: Bytes that the first GETs bring before the line goes dead, one after the other.
        ranges: Whether a part can be asked for; what is said about it does not change.
        forever: The last of the cuts holds for all that come after.
        told: Whether it says how long its files are.
    """
    left = list(cuts)

    def answer(request: Request) -> Reply:
        if request.path not in files:
            return Reply(404)
        body, status, headers = files[request.path], 200, {"Accept-Ranges": "bytes", "Content-Type": "text/plain"}
        if ranges and (wanted := re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))):
            start = int(wanted[1])
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        sent = None
        if left and request.method == "GET":
            sent = left[0] if forever and len(left) == 1 else left.pop(0)
        return Reply(status, body, headers, sent, told)

    return answer


def hub(
    files: dict[str, bytes],
    kind: str = "datasets",
    name: str = "clinic/consultations",
    storage: str = "",
    token: str = "",
    gated: bool = False,
    sized: bool = True,
) -> Answer:
    """A Hub with one repository.

    Args:
        files: By path in the repository.
        kind: `datasets` or `models`.
        name: Of the repository.
        storage: Address that has the files, by their SHA-256; the Hub has them itself where empty.
        token: Without this one the repository is hidden; any other is not known to the Hub.
        gated: The list of files is public, they themselves are not.
        sized: Whether a redirect says how large the file is.
    """
    at = f"/{name}" if kind == "models" else f"/{kind}/{name}"
    about = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
    listing = [
        {"type": "file", "path": file, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
        for file, body in files.items()
    ]

    def refusal(request: Request) -> Reply | None:
        given = request.headers.get("authorization")
        if given is not None and given != f"Bearer {token}":
            return Reply(401, b'{"error": "Invalid credentials in Authorization header"}')
        if given is None and token and not (gated and "/resolve/" not in request.path):
            code = "GatedRepo" if gated else "RepoNotFound"
            return Reply(401, b'{"error": "No access"}', {"X-Error-Code": code, "X-Repo-Commit": COMMIT})
        return None

    def file(path: str) -> Reply:
        if path not in files:
            return Reply(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        mark = mark_of(files[path])
        headers = {"ETag": f'"{mark}"', "X-Repo-Commit": COMMIT, "Content-Type": "text/plain"}
        if not storage:
            return Reply(200, files[path], headers)
        size = {"X-Linked-Size": str(len(files[path]))} if sized else {}
        linked = {"Location": f"{storage}/{mark}", "X-Linked-Etag": f'"{mark}"', **size}
        return Reply(302, b"Found. Redirecting", {**headers, "ETag": '"of-the-redirect"', **linked})

    def answer(request: Request) -> Reply:
        if refused := refusal(request):
            return refused
        if re.fullmatch(rf"/api/{kind}/{name}(/revision/\w+)?", request.path):
            return Reply(body=json.dumps(about).encode())
        if request.path.startswith(f"/api/{kind}/{name}/tree/"):
            return Reply(body=json.dumps(listing).encode())
        if found := re.fullmatch(rf"{at}/resolve/\w+/(.+)", request.path):
            return file(found[1])
        return Reply(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})

    return answer


def mark_of(body: bytes) -> str:
    """A file's SHA-256."""
    return hashlib.sha256(body).hexdigest()


def by_mark(files: dict[str, bytes]) -> dict[str, bytes]:
    """A repository's files as the Hub's storage has them."""
    return {f"/{mark_of(body)}": body for body in files.values()}


def packed(files: dict[str, bytes]) -> bytes:
    """An archive of files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return content.getvalue()


def kaggle(download: Reply, view: Reply | None = None, credentials: str = "") -> Answer:
    """A Kaggle with one data set, `clinic/consultations`, in its third version.

    Args:
        download: What it answers when asked for the data.
        view: What it answers when asked for the version.
        credentials: The header `Authorization` without which it tells nothing.
    """

    def answer(request: Request) -> Reply:
        given = request.headers.get("authorization", "")
        if credentials and given != credentials:
            status = 401 if given else 403
            return Reply(status, json.dumps({"code": status, "message": "Permission denied"}).encode())
        asked = request.fields
        if (asked.get("ownerSlug"), asked.get("datasetSlug")) != ("clinic", "consultations"):
            return Reply(404, b'{"code": 404, "message": "Not found"}')
        if request.path.endswith("/GetDataset"):
            return view or Reply(body=b'{"currentVersionNumber": 3}')
        return download

    return answer


class Worker:
    """A process that has imported what is slow, and answers each question in a fork of its own.

    The libraries read their settings when they are imported; a process per question would import them each time.
    """

    SLOW = ("requests", "httpx", "httpx2", "kagglesdk.kaggle_client", "torch", "lightning_med.data.sources")

    def __init__(self) -> None:
        script = "from tests.servers import Worker; Worker.work()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            env={"PATH": os.environ["PATH"], "TOKENIZERS_PARALLELISM": "false"},
        )

    def ask(self, home: Path, what: str, name: str, output: str = "", **settings: str) -> dict[str, Any]:
        """What comes of one question; `output` is where the fork prints, a file in its home if not named."""
        home.mkdir(exist_ok=True)
        reply = home / "reply.json"
        reply.unlink(missing_ok=True)
        environment = {
            "HOME": str(home),
            "HF_HOME": str(home / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_VERBOSITY": "error",
            "KAGGLEHUB_CACHE": str(home / "kaggle"),
            "NO_PROXY": "*",
            "TRANSFORMERS_VERBOSITY": "error",
            **settings,
        }
        question = [what, name, environment, str(reply), output or str(home / "output.txt")]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()
        assert reply.exists(), "the process died over this question"
        told = json.loads(reply.read_text(encoding="utf-8"))
        assert "crash" not in told, told["crash"]
        return told

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    @staticmethod
    def work() -> None:
        """The process: a question a line, a word when its fork is done."""
        for name in Worker.SLOW:
            with suppress(ImportError):
                importlib.import_module(name)
        for line in sys.stdin:
            what, name, environment, reply, output = json.loads(line)
            child = os.fork()
            if child == 0:
                _in_fork(what, name, environment, Path(reply), output)
            os.waitpid(child, 0)
            print("done", flush=True)


def _in_fork(what: str, name: str, environment: dict[str, str], reply: Path, output: str) -> None:
    """Answers one question and leaves the process without looking back."""
    signal.alarm(60)  # a client that waits for ever fails its test, and not the whole run
    try:
        printed = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.environ.update(environment)
        slept: list[float] = []
        time.sleep = slept.append  # type: ignore[assignment]
        told = {**_knock(what, name), "slept": sum(slept)}
    except BaseException:
        told = {"crash": traceback.format_exc()}
    reply.write_text(json.dumps(told), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)


def _knock(what: str, name: str) -> dict[str, Any]:
    from lightning_med.utils.errors import InputError

    if address := os.environ.get("KAGGLE"):
        from kagglesdk import kaggle_env

        kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.PROD] = address
    try:
        if what == "source":
            from lightning_med.data.sources.source import find_files

            return {"files": {path.name: mark_of(path.read_bytes()) for path in find_files(name)}}
        if what == "files":
            from lightning_med.utils import hub

            return {"folder": str(hub.download(name, "--model.base FOLDER", ["*.json"]))}
        if what == "command":
            from lightning_med.cli.command import main

            return {"status": main(name.split())}
        if what == "tokenizer":
            from lightning_med.tokenization.tokenizer import load_tokenizer, store_tokenizer

            return {"tokenizer": store_tokenizer(load_tokenizer(name))}
        if what == "base":
            from lightning_med.model.causal_lm import load_base

            return {"weights": sum(p.double().sum().item() for p in load_base(name, 0.0).parameters())}
        if what == "model":  # both, each with what comes of it: transformers is slow to import
            return {"tokenizer": _knock("tokenizer", name), "base": _knock("base", name)}
        raise ValueError(what)
    except InputError as error:
        return {"what": error.what, "mend": error.hint}
