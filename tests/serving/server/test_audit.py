"""The audit log: one record of each question, no text of anyone, and none lost."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

pytest.importorskip("gradio")

from lightning_med.safety.levels import ORDINARY, RANK
from lightning_med.safety.messages.danger_rules import load_rulebook
from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.server.app import ServerSettings, make_app
from lightning_med.serving.server.audit import Audit
from lightning_med.serving.server.audit_file import AuditFile
from lightning_med.serving.server.limits import Capacity
from lightning_med.serving.server.metrics import Metrics
from lightning_med.serving.server.page.answering import Answerer
from lightning_med.serving.server.page.settings import PageSettings
from lightning_med.serving.server.page.talk import Talk
from lightning_med.utils.errors import InputError, RunError
from lightning_med.version import __version__
from tests.serving.scripted_model import ScriptedWriter
from tests.serving.server.live_server import serve_app, wait_for

QUESTION = "My tongue is sore, what can I do?"
DANGER = "crushing chest pain and my left arm is numb"
UNSAFE = "Take 500 mg of ibuprofen twice a day. Rest your voice and drink warm tea. It heals within some days."
LEVELS = {*RANK, ORDINARY, "unchecked", None}
CATEGORIES = {*load_rulebook().categories, *RANK, "not_english", "see_soon"}
ACTIONS = {
    "dose", "diagnosis", "discouragement", "credential", "name", "contact", "private", "abuse", "placeholder", "turn",
    "fallback", "advice", "notice",
}  # fmt: skip
REASONS = {"too_long", "busy", "invalid"}


class Log:
    """A log and what was added to it since it was last read."""

    def __init__(self, path: Path) -> None:
        self.path, self._read = path, 0

    def read(self, count: int = 1) -> list[dict[str, Any]]:
        """Waits for new records, checks that there are so many and that nothing but facts is in them."""
        wait_for(lambda: len(self._lines()) >= count)
        lines = self._lines()
        assert len(lines) == count, lines
        self._read += len(lines)
        return [check_record(json.loads(line)) for line in lines]

    def _lines(self) -> list[str]:
        content = self.path.read_text("utf-8")
        assert not content or content.endswith("\n")
        return content.splitlines()[self._read :]


def check_record(record: dict[str, Any]) -> dict[str, Any]:
    """Checks that each value is of a fixed vocabulary, a number, the time or the id."""
    found = dict(record)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(found.pop("time"))) < timedelta(minutes=2)
    assert re.fullmatch(r"[0-9a-f]{32}", found.pop("id"))
    assert found.pop("endpoint") in ("page", "chat", "completions")
    assert (outcome := found.pop("outcome")) in ("answered", "alarm", "refused", "cancelled", "error")
    reason = found.pop("reason")
    assert reason in REASONS if outcome == "refused" else reason is None
    assert found.pop("level") in LEVELS
    assert set(found.pop("categories")) <= CATEGORIES
    guard = found.pop("guard") or {}
    assert set(guard) <= ACTIONS
    numbers = [found.pop("prompt_tokens"), found.pop("answer_tokens"), found.pop("seconds"), *guard.values()]
    assert all(number is None or (isinstance(number, (int, float)) and number >= 0) for number in numbers)
    assert isinstance(found.pop("model_asked"), bool)
    assert (found.pop("model"), found.pop("upstream"), found.pop("version")) == ("small-model", False, __version__)
    assert not found
    return record


def list_values(value: Any) -> Iterator[str]:
    """The values of a record as text, and the names of what the guard did."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from (*list_values(name), *list_values(part))
    elif isinstance(value, list):
        for part in value:
            yield from list_values(part)
    else:
        yield str(value)


def holds_text(record: dict[str, Any], text: str, length: int = 8) -> bool:
    """Whether some piece of a text is in the values of a record."""
    pieces = {text[start : start + length] for start in range(len(text) - length + 1)}
    assert pieces, "the text is too short to be found"
    return any(piece in value for value in list_values(list(record.values())) for piece in pieces)


@pytest.fixture(scope="module")
def writer() -> ScriptedWriter:
    return ScriptedWriter(UNSAFE)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return Log(tmp_path_factory.mktemp("audit") / "audit.jsonl")


@pytest.fixture(scope="module")
def file(log: Log) -> Iterator[AuditFile]:
    file = AuditFile(log.path)
    yield file
    file.close()


@pytest.fixture(scope="module")
def url(writer: ScriptedWriter, file: AuditFile) -> Iterator[str]:
    settings = ServerSettings("small-model", rate=100_000, limit=3, audit=Audit(file, "small-model"))
    with serve_app(make_app(ChatService(writer, "GB"), settings)) as address:
        yield address


@pytest.fixture
def closed(writer: ScriptedWriter) -> Iterator[ScriptedWriter]:
    """The model, which stops after its first word until its gate is opened."""
    writer.gate.clear()
    yield writer
    writer.gate.set()


def post(url: str, text: str = QUESTION, endpoint: str = "chat/completions", **fields: Any) -> httpx2.Response:
    said = {"prompt": text} if endpoint == "completions" else {"messages": [{"role": "user", "content": text}]}
    return httpx2.post(f"{url}/v1/{endpoint}", json={**said, **fields}, timeout=30)


def ask_page(url: str, text: str, tab: str) -> None:
    question = {"fn_index": 0, "session_hash": tab, "data": [text, None]}
    assert httpx2.post(f"{url}/gradio_api/queue/join", json=question, timeout=30).status_code == 200


def read_page(url: str, tab: str) -> None:
    httpx2.get(f"{url}/gradio_api/queue/data?session_hash={tab}", timeout=30).raise_for_status()


# ------------------------------------------------------------------ what is recorded


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("endpoint", ["chat/completions", "completions"])
def test_an_answer_has_one_record_with_the_id_that_the_client_got(
    url: str, log: Log, endpoint: str, stream: bool
) -> None:
    reply = post(url, endpoint=endpoint, stream=stream)
    (record,) = log.read()
    assert record["id"] == reply.headers["x-request-id"]
    assert f'"id": "{"cmpl" if endpoint == "completions" else "chatcmpl"}-{record["id"]}"' in reply.text.replace(
        '":"', '": "'
    )
    assert (record["endpoint"], record["outcome"]) == (endpoint.partition("/")[0], "answered")
    assert (record["level"], record["categories"], record["model_asked"]) == ("ordinary", [], True)
    assert record["guard"] == {"dose": 1}
    assert record["answer_tokens"] == len(UNSAFE.split())
    assert record["prompt_tokens"] > 0


def test_an_alarm_is_recorded_and_that_the_model_was_not_asked(url: str, log: Log) -> None:
    post(url, DANGER)
    (record,) = log.read()
    assert (record["outcome"], record["level"], record["model_asked"]) == ("alarm", "emergency", False)
    assert record["categories"]
    assert (record["guard"], record["prompt_tokens"]) == ({"advice": 1}, 0)


def test_a_question_of_the_page_has_one_record(url: str, log: Log) -> None:
    for text in (QUESTION, DANGER, " ", "x" * 30_000):
        ask_page(url, text, "tab")
        read_page(url, "tab")
    asked, alarm, empty, long = log.read(4)
    assert {record["endpoint"] for record in (asked, alarm, empty, long)} == {"page"}
    assert (asked["outcome"], asked["guard"], alarm["outcome"]) == ("answered", {"dose": 1}, "alarm")
    assert (empty["reason"], long["reason"]) == ("invalid", "too_long")


def test_refused_requests_are_recorded_with_the_reason(url: str, log: Log, closed: ScriptedWriter) -> None:
    assert post(url, "").status_code == 400
    assert post(url, "x" * 30_000).status_code == 400
    assert httpx2.post(f"{url}/v1/chat/completions", content=b"{").status_code == 400
    assert post(url, model="other").status_code == 404
    assert [record["reason"] for record in log.read(4)] == ["invalid", "too_long", "invalid", "invalid"]
    for number in range(3):
        ask_page(url, QUESTION, f"busy{number}")
    wait_for(lambda: sum(not stream.is_done for stream in closed.streams) == 3)
    assert post(url).status_code == 503
    assert log.read()[0]["reason"] == "busy"
    closed.gate.set()
    for number in range(3):
        read_page(url, f"busy{number}")
    assert [record["outcome"] for record in log.read(3)] == ["answered"] * 3


def test_requests_that_are_refused_before_a_question_is_read_have_no_record(tmp_path: Path) -> None:
    """Otherwise anyone who reaches the port fills the disk, and nothing is answered any more."""
    log, file = Log(tmp_path / "audit.jsonl"), AuditFile(tmp_path / "audit.jsonl")
    access = {"api_key": "k", "login": ("ward", "k"), "hosts": ("testserver",), "rate": 6}
    app = make_app(ChatService(ScriptedWriter(), "GB"), ServerSettings("m", audit=Audit(file, "small-model"), **access))
    client, path, key = TestClient(app), "/v1/completions", {"authorization": "Bearer k"}
    refused = [
        client.post(path, json={"prompt": DANGER}),
        client.post(path, json={"prompt": DANGER}, headers={**key, "host": "evil.example"}),
        client.post(path, content=b"x" * 1_000_001, headers=key),
        client.post("/gradio_api/queue/join", json={}),
        client.post("/gradio_api/queue/join", json={}, headers={"origin": "https://evil.example"}),
        client.post(path, json={"prompt": DANGER}, headers=key),
        *(client.post(path, json={"prompt": DANGER}, headers=key) for _ in range(2)),
    ]
    assert [reply.status_code for reply in refused] == [401, 421, 413, 401, 403, 200, 200, 429]
    assert [record["outcome"] for record in log.read(2)] == ["alarm", "alarm"]
    assert 'errors_total{status="401"} 2.0' in client.get("/metrics", headers=key).text
    file.close()


# ------------------------------------------------------------------ what is broken off


def test_a_stream_whose_reader_goes_away_has_one_record(url: str, log: Log, closed: ScriptedWriter) -> None:
    body = {"messages": [{"role": "user", "content": QUESTION}], "stream": True}
    with httpx2.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=30) as reply:
        next(reply.iter_raw())
    (record,) = log.read()
    assert record["id"] == reply.headers["x-request-id"]
    assert (record["outcome"], record["level"], record["model_asked"]) == ("cancelled", "ordinary", True)
    assert (record["guard"], record["answer_tokens"]) == (None, None)


@pytest.mark.parametrize("end", ["stop", "clear", "close the tab", "stop an alarm"])
def test_a_person_who_ends_an_answer_has_one_record(
    log: Log, file: AuditFile, closed: ScriptedWriter, end: str
) -> None:
    service = ChatService(closed, "GB")
    metrics = Metrics(lambda: service.load)
    answerer = Answerer(PageSettings(service, metrics, "small-model", Capacity(3), audit=Audit(file, "small-model")))

    async def ask() -> None:
        async with aclosing(answerer.answer("tab", DANGER if "alarm" in end else QUESTION, Talk())) as views:
            async for _ in views:
                if end == "close the tab":
                    break
                answerer.stop("tab", is_dropped=end == "clear")

    asyncio.run(ask())
    (record,) = log.read()
    assert record["endpoint"] == "page"
    assert record["outcome"] == ("alarm" if "alarm" in end else "cancelled")
    assert (record["answer_tokens"], record["guard"]) == (None, {"advice": 1} if "alarm" in end else None)


def test_a_failure_is_recorded(url: str, log: Log, closed: ScriptedWriter) -> None:
    for stream in (False, True):
        before = len(closed.streams)
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(post, url, stream=stream)
            wait_for(lambda before=before: len(closed.streams) > before)
            closed.streams[-1].fail(RunError("no room"))
            assert future.result().status_code == (200 if stream else 502)
        assert log.read()[0]["outcome"] == "error"


def test_what_is_open_when_the_server_ends_is_recorded_once(tmp_path: Path) -> None:
    log, file = Log(tmp_path / "audit.jsonl"), AuditFile(tmp_path / "audit.jsonl")
    audit = Audit(file, "small-model")
    entry = audit.begin("page")
    audit.close()
    entry.end()
    file.close()
    assert log.read()[0]["outcome"] == "cancelled"


# ------------------------------------------------------------------ no text


@settings(max_examples=30)
@given(st.text(min_size=12, max_size=300), st.sampled_from(["chat/completions", "completions", "page"]))
@example('"}\n{"endpoint": "window"}\r\n', "chat/completions")
@example("I am John Smith of 12 High Street, john@example.com, 020 7946 0958", "page")
def test_no_text_of_a_person_or_a_model_is_in_the_log(url: str, log: Log, text: str, endpoint: str) -> None:
    if endpoint == "page":
        ask_page(url, text, "hostile")
        read_page(url, "hostile")
    else:
        post(url, text, endpoint, user=text, stop=[text[:100]])
    (record,) = log.read()  # every value is checked there
    assert not holds_text(record, text)
    assert not holds_text(record, UNSAFE)
    assert not holds_text(record, "127.0.0.1")


def test_a_text_in_a_record_would_be_found() -> None:
    text = 'Mein "Rücken" schmerzt\n'
    for leak in ({"reason": text[2:12]}, {"categories": ["ordinary", text]}, {"guard": {text: 1}}):
        assert holds_text(json.loads(json.dumps({"id": "0", **leak})), text)
    assert not holds_text({"reason": "invalid", "seconds": 1.5, "guard": None}, text)


# ------------------------------------------------------------------ the file


def test_while_nothing_can_be_written_no_question_is_answered_and_no_record_is_lost(
    url: str, log: Log, file: AuditFile, closed: ScriptedWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, full = os.write, True

    def write(handle: int, data: bytes) -> int:
        if handle != file._handle or not full:
            return real(handle, data)
        if len(data) > 20:
            return real(handle, data[:20])  # a part of a line fits
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    ask_page(url, QUESTION, "full")
    wait_for(lambda: bool(closed.streams) and not closed.streams[-1].is_done)
    monkeypatch.setattr("os.write", write)
    monkeypatch.setattr(file, "_waiting", b"")
    closed.gate.set()
    read_page(url, "full")
    wait_for(lambda: httpx2.get(f"{url}/health").status_code == 503)
    asked = len(closed.asked)
    for endpoint in ("chat/completions", "completions"):
        reply = post(url, endpoint=endpoint)
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "audit_unavailable")
    ask_page(url, QUESTION, "full")
    read_page(url, "full")
    assert len(closed.asked) == asked
    full = False
    assert httpx2.get(f"{url}/health").json() == {"status": "ok"}
    assert post(url).status_code == 200
    assert [record["outcome"] for record in log.read(2)] == ["answered", "answered"]


def test_a_file_is_private_is_continued_and_a_half_line_stays_apart(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text('{"time": "half', "utf-8")
    path.chmod(0o644)
    file = AuditFile(path)
    assert file.append('{"a": 1}')
    file.close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text("utf-8") == '{"time": "half\n{"a": 1}\n'


@pytest.mark.parametrize("rotate", [Path.unlink, lambda path: path.rename(path.with_suffix(".1"))])
def test_a_file_that_is_rotated_is_made_anew(tmp_path: Path, rotate: Callable[[Path], object]) -> None:
    path = tmp_path / "audit.jsonl"
    file = AuditFile(path)
    file.append('{"a": 1}')
    rotate(path)
    assert file.append('{"b": 2}')
    path.write_bytes(b"")
    assert file.append('{"c": 3}')
    file.close()
    assert path.read_text("utf-8") == '{"c": 3}\n'
    assert path.stat().st_mode & 0o777 == 0o600
    assert all(old.read_text("utf-8") == '{"a": 1}\n' for old in tmp_path.glob("*.1"))


class FullDisk:
    """A disk on which so many bytes fit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room, self._write = room, os.write
        monkeypatch.setattr("os.write", self.write)

    def write(self, handle: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = self._write(handle, data[: self.room])
        self.room -= count
        return count


FIRST, SECOND = '{"time": "1", "endpoint": "chat"}', '{"time": "2", "endpoint": "page"}'


def cut(path: Path) -> None:
    os.truncate(path, 0)


def add(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(SECOND + "\n")


@pytest.mark.parametrize(
    ("change", "content"),
    [
        (Path.exists, ""),
        (Path.unlink, ""),
        (lambda path: path.rename(path.with_suffix(".1")), ""),
        (cut, ""),
        (add, f"{FIRST[:20]}{SECOND}\n"),
    ],
)
def test_a_half_written_line_is_written_whole_whatever_became_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], content: str
) -> None:
    path = tmp_path / "audit.jsonl"
    file, disk = AuditFile(path), FullDisk(monkeypatch, 20)
    assert not file.append(FIRST)
    assert path.read_text("utf-8") == FIRST[:20]
    change(path)
    disk.room = 1000
    assert file.append(SECOND)
    file.close()
    assert path.read_text("utf-8") == f"{content}{FIRST}\n{SECOND}\n"
    AuditFile(path).close()  # the next start continues it


def test_two_servers_may_share_a_file(tmp_path: Path) -> None:
    files = [AuditFile(tmp_path / "audit.jsonl") for _ in range(2)]
    for number in range(6):
        files[number % 2].append(json.dumps({"number": number}))
    for file in files:
        file.close()
    lines = (tmp_path / "audit.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(6))


def test_a_path_that_cannot_hold_the_log_is_refused_at_once(tmp_path: Path) -> None:
    notes, data, pipe = (tmp_path / name for name in ("notes.txt", "data.jsonl", "pipe"))
    notes.write_text("Dear diary", "utf-8")
    data.write_text('{"question": "My tongue is sore."}\n', "utf-8")
    data.chmod(0o644)
    os.mkfifo(pipe)
    for path in (tmp_path, notes, data, pipe, tmp_path / "missing" / "audit.jsonl", Path("/dev/full")):
        with pytest.raises(InputError, match=f"{path.name} cannot hold the audit log"):
            AuditFile(path)
    assert notes.read_text("utf-8") == "Dear diary"
    assert data.stat().st_mode & 0o777 == 0o644


def test_a_log_of_records_is_continued(tmp_path: Path) -> None:
    for _ in range(2):
        file = AuditFile(tmp_path / "audit.jsonl")
        audit = Audit(file, "small-model")
        audit.begin("chat").end()
        file.close()
    assert len(Log(tmp_path / "audit.jsonl").read(2)) == 2
