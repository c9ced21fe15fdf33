"""Stand-ins for the Hugging Face Hub, Kaggle and their file storage, on local ports."""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Request:
    """A request that a server received."""

    method: str
    path: str
    headers: dict[str, str]  # with lower-case names
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON body; empty without one."""
        return json.loads(self.body) if self.body else {}


@dataclass
class Reply:
    """A server's reply.

    Attributes:
        sent_bytes: Bytes of the body after which the connection is closed; `None` sends all.
        has_length: Whether the reply has a header `Content-Length`.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    sent_bytes: int | None = None
    has_length: bool = True


Answer = Callable[[Request], Reply]


@dataclass
class Server:
    """A server's address and the requests that it received, in order."""

    address: str
    requests: list[Request] = field(default_factory=list)

    def find_requests(self, method: str = "GET", part: str = "") -> list[Request]:
        """Returns the requests with this method whose path contains `part`."""
        return [request for request in self.requests if request.method == method and part in request.path]


@contextmanager
def serve(answer: Answer, port: int = 0) -> Iterator[Server]:
    """Runs a server on a port, 0 for a free one, that answers every request with `answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            names = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path.split("?")[0], names, body)
            record.requests.append(request)
            reply = answer(request)
            self.send_response(reply.status)
            length = {"Content-Length": str(len(reply.body))} if reply.has_length else {}
            for name, value in {"Content-Type": "application/json", **length, **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body[: reply.sent_bytes])

        do_HEAD = do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    record = Server(f"http://127.0.0.1:{server.server_port}")
    with run_server(server):
        yield record


@contextmanager
def run_server(server: ThreadingHTTPServer) -> Iterator[None]:
    """Answers requests in another thread; the server is closed afterwards."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def storage(
    files: dict[str, bytes],
    cuts: Sequence[int] = (),
    ranges: bool = True,
    repeat_last_cut: bool = False,
    has_length: bool = True,
) -> Answer:
    """A storage of files.

    Args:
        files: Contents by path.
        cuts: Bytes after which the first GETs are cut off, in order.
        ranges: Whether `Range` is honoured; the replies announce it either way.
        repeat_last_cut: Cut off all later GETs like the last one.
        has_length: Whether replies have a header `Content-Length`.
    """
    remaining = list(cuts)

    def answer(request: Request) -> Reply:
        if request.path not in files:
            return Reply(404)
        body, status, headers = files[request.path], 200, {"Accept-Ranges": "bytes", "Content-Type": "text/plain"}
        if ranges and (match := re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))):
            start = int(match[1])
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        sent_bytes = None
        if remaining and request.method == "GET":
            sent_bytes = remaining[0] if repeat_last_cut and len(remaining) == 1 else remaining.pop(0)
        return Reply(status, body, headers, sent_bytes, has_length)

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
        files: Contents by path in the repository.
        kind: `datasets` or `models`.
        name: Name of the repository.
        storage: Address of a storage with the files, by their SHA-256; if empty, the Hub sends them itself.
        token: The only valid token; without it the repository is hidden. Empty for a public repository.
        gated: The list of files is public, the files are not.
        sized: Whether a redirect states the size of the file.
    """
    root = f"/{name}" if kind == "models" else f"/{kind}/{name}"
    info = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
    listing = [
        {"type": "file", "path": file, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
        for file, body in files.items()
    ]

    def refuse(request: Request) -> Reply | None:
        authorization = request.headers.get("authorization")
        if authorization is not None and authorization != f"Bearer {token}":
            return Reply(401, b'{"error": "Invalid credentials in Authorization header"}')
        if authorization is None and token and not (gated and "/resolve/" not in request.path):
            code = "GatedRepo" if gated else "RepoNotFound"
            return Reply(401, b'{"error": "No access"}', {"X-Error-Code": code, "X-Repo-Commit": COMMIT})
        return None

    def send_file(path: str) -> Reply:
        if path not in files:
            return Reply(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        digest = compute_sha256(files[path])
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT, "Content-Type": "text/plain"}
        if not storage:
            return Reply(200, files[path], headers)
        size = {"X-Linked-Size": str(len(files[path]))} if sized else {}
        linked = {"Location": f"{storage}/{digest}", "X-Linked-Etag": f'"{digest}"', **size}
        return Reply(302, b"Found. Redirecting", {**headers, "ETag": '"of-the-redirect"', **linked})

    def answer(request: Request) -> Reply:
        if refusal := refuse(request):
            return refusal
        if re.fullmatch(rf"/api/{kind}/{name}(/revision/\w+)?", request.path):
            return Reply(body=json.dumps(info).encode())
        if request.path.startswith(f"/api/{kind}/{name}/tree/"):
            return Reply(body=json.dumps(listing).encode())
        if match := re.fullmatch(rf"{root}/resolve/\w+/(.+)", request.path):
            return send_file(match[1])
        return Reply(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})

    return answer


def compute_sha256(body: bytes) -> str:
    """Returns the SHA-256 of a file's content."""
    return hashlib.sha256(body).hexdigest()


def by_digest(files: dict[str, bytes]) -> dict[str, bytes]:
    """Returns a repository's files by the path that they have in the Hub's storage."""
    return {f"/{compute_sha256(body)}": body for body in files.values()}


def make_zip(files: dict[str, bytes]) -> bytes:
    """Returns a ZIP archive of files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return content.getvalue()


def kaggle(download: Reply, view: Reply | None = None, credentials: str = "") -> Answer:
    """A Kaggle with one dataset, `clinic/consultations`, in its third version.

    Args:
        download: Reply to a request for the data.
        view: Reply to a request for the version.
        credentials: The required header `Authorization`; empty if none is required.
    """

    def answer(request: Request) -> Reply:
        authorization = request.headers.get("authorization", "")
        if credentials and authorization != credentials:
            status = 401 if authorization else 403
            return Reply(status, json.dumps({"code": status, "message": "Permission denied"}).encode())
        fields = request.fields
        if (fields.get("ownerSlug"), fields.get("datasetSlug")) != ("clinic", "consultations"):
            return Reply(404, b'{"code": 404, "message": "Not found"}')
        if request.path.endswith("/GetDataset"):
            return view or Reply(body=b'{"currentVersionNumber": 3}')
        return download

    return answer
