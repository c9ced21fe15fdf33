"""A page on a real server with a scripted model, and what a browser sees of it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI

from lightning_med.inference.engines.answer_stream import AnswerStream
from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.conversation import Conversation
from lightning_med.serving.server.api import ServerState, add_api
from lightning_med.serving.server.audit import Audit
from lightning_med.serving.server.limits import Capacity
from lightning_med.serving.server.marks import Marks
from lightning_med.serving.server.metrics import Metrics
from lightning_med.serving.server.page.mount import mount_page
from lightning_med.serving.server.page.settings import PageSettings
from lightning_med.serving.server.page_security import add_security
from tests.serving.scripted_model import ANSWER, ScriptedWriter

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FACTS = [("Base", "A small model <b>"), ("Data", "Consultations"), ("Perplexity, test", "9.41")]
EXAMPLES = ["Which foods are rich in iron?", "How much sleep does a ten-year-old need?"]
MODEL = "tiny <i>model</i>"
PLACES = 60  # questions that may be answered or wait
WAIT = 20.0  # seconds; nothing here takes one, but machines of tests are busy


class StepGate:
    """A gate that can let some words through."""

    def __init__(self) -> None:
        self._words, self._is_open = threading.Semaphore(0), True

    def wait(self, timeout: float) -> bool:
        return self._is_open or self._words.acquire(timeout=timeout)

    def clear(self) -> None:
        self._words, self._is_open = threading.Semaphore(0), False

    def let(self, words: int) -> None:
        self._words.release(words)

    def set(self) -> None:
        self._is_open = True
        self._words.release(10_000)


class StepWriter(ScriptedWriter):
    """A scripted model that can be slow to begin, break, and have others wait.

    Attributes:
        waiting: Answers that wait.
        begins: Closed, nothing is written.
        capacity: Of the server.
        error: Raised in the middle of an answer.
    """

    def __init__(self, answer: str | Callable[[Conversation], str] = ANSWER) -> None:
        super().__init__(answer)
        self.capacity = Capacity(PLACES)
        self.reset()

    def reset(self) -> None:
        self.gate: Any = StepGate()
        self.waiting, self.error = 0, None
        self.begins = threading.Event()
        self.begins.set()
        self.asked.clear()
        self.streams.clear()

    def _say(self, text: str, stream: AnswerStream) -> None:
        self.begins.wait(WAIT)
        if self.error is not None:
            stream.fail(self.error)
            return
        super()._say(text, stream)

    @property
    def load(self) -> tuple[int, int]:
        return super().load[0], self.waiting


def make_app(
    writer: StepWriter, marks: Marks | None = None, safety: bool = True, audit: Audit | None = None
) -> FastAPI:
    """An app as the server makes it."""
    audit = audit or Audit()
    service = ChatService(writer, "GB", safety)
    metrics = Metrics(lambda: service.load)
    capacity = writer.capacity = Capacity(PLACES)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_api(app, ServerState(service, "tiny", metrics, capacity, audit))
    add_security(app, ["127.0.0.1", "localhost"])
    return mount_page(app, PageSettings(service, metrics, MODEL, capacity, FACTS, EXAMPLES, marks, audit))


@dataclass
class Seen:
    """A page in a browser.

    Attributes:
        page: Of Playwright.
        requests: Addresses that it asked for.
        faults: Errors and warnings in the console, dialogs, answers with an error status.
    """

    page: Any
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def ask(self, question: str) -> None:
        self.page.fill("#question textarea", question)
        self.page.keyboard.press("Enter")

    def bubble(self, role: str, number: int = -1) -> Any:
        return self.page.locator(f'#chat [data-testid="{role}"]').nth(number)

    def check_quiet(self, address: str) -> None:
        away = [one for one in self.requests if not one.startswith((f"{address}/", "data:", "blob:"))]
        assert not away
        assert not self.faults


@contextmanager
def open_page(browser: Any, address: str, width: int = 1280, scheme: str = "light") -> Iterator[Seen]:
    """Opens a page in a browser of its own; afterwards nothing may have been loaded from elsewhere or have failed."""
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    context.set_default_timeout(WAIT * 1000)
    try:
        seen = Seen(context.new_page())
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.on("console", lambda message: _note_fault(seen, message))
        seen.page.on("dialog", lambda dialog: seen.faults.append(f"dialog {dialog.message}"))
        seen.page.on("pageerror", lambda error: seen.faults.append(str(error)))
        seen.page.goto(address)
        seen.page.wait_for_selector("#question textarea")
        yield seen
    finally:
        context.close()
    seen.check_quiet(address)


def _note_fault(seen: Seen, message: Any) -> None:
    if message.type in ("error", "warning"):
        seen.faults.append(message.text)
