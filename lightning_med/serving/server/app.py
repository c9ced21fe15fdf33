"""The server's app: the OpenAI protocol and the page on one port, behind the limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import FastAPI

from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.server.api import ServerState, add_api
from lightning_med.serving.server.audit import Audit, AuditRequests
from lightning_med.serving.server.limits import Capacity, CountErrors, LimitRate, LimitSize, Network, RequireKey
from lightning_med.serving.server.marks import Marks
from lightning_med.serving.server.metrics import Metrics
from lightning_med.serving.server.page.mount import mount_page
from lightning_med.serving.server.page.settings import PageSettings
from lightning_med.serving.server.page_security import add_security, require_login

EXAMPLES = (
    "My throat has been sore for three days. What can I do at home?",
    "How much sleep does a ten-year-old need?",
    "What helps against hay fever?",
)


@dataclass(frozen=True)
class ServerSettings:
    """Settings of the server.

    Attributes:
        model: Its name in the protocol and on the page.
        facts: Labels and values that the page shows of it.
        limit: Questions that may be answered or wait.
        rate: Questions of one client's address a minute.
        api_key: That programs must send, if any.
        login: Name and password that the page asks for, if any.
        hosts: Names that the server may be called by; `None` for any, where other machines can reach it.
        public_name: Host name by which a proxy on this machine is called, if there is one.
        marks: Where thumbs up and down are kept, if anywhere.
        audit: The records of questions, kept in a file or not.
        proxies: Addresses of proxies, whose header says who asks.
    """

    model: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    limit: int = 256
    rate: int = 300
    api_key: str | None = None
    login: tuple[str, str] | None = None
    hosts: tuple[str, ...] | None = None
    public_name: str | None = None
    marks: Marks | None = None
    audit: Audit = field(default_factory=Audit)
    proxies: tuple[Network, ...] = ()


def make_app(service: ChatService, settings: ServerSettings) -> FastAPI:
    """Returns the app."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)  # its pages of docs load scripts from elsewhere
    metrics, capacity = Metrics(lambda: service.load), Capacity(settings.limit)
    add_api(app, ServerState(service, settings.model, metrics, capacity, settings.audit))
    app.add_middleware(AuditRequests, audit=settings.audit)  # the first one is the last to see a request
    if settings.login is not None:
        require_login(app, *settings.login)
    if settings.api_key is not None:
        app.add_middleware(RequireKey, key=settings.api_key)
    add_security(app, settings.hosts, settings.public_name)
    app.add_middleware(LimitRate, per_minute=settings.rate, proxies=settings.proxies)
    app.add_middleware(LimitSize)
    app.add_middleware(CountErrors, count=metrics.count_error)
    page = PageSettings(
        service, metrics, settings.model, capacity, settings.facts, list(EXAMPLES), settings.marks, settings.audit
    )
    return mount_page(app, page)
