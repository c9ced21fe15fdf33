"""`lightning-med serve`: a page to talk to a model, and the OpenAI protocol, on one port."""

from __future__ import annotations

import argparse
import os
import socket
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_med.cli.answering.model_options import find_model, open_service, read_decoding
from lightning_med.cli.answering.server_options import LOCAL_HOSTS, check_server_options, make_parser
from lightning_med.cli.output import json_output
from lightning_med.cli.verbs.triage import check_safety_settings
from lightning_med.safety.answers.guard import DISCLAIMER

if TYPE_CHECKING:
    from lightning_med.serving.chat_service import ChatService
    from lightning_med.serving.server.app import ServerSettings
    from lightning_med.serving.server.audit_file import AuditFile
    from lightning_med.serving.server.marks import Marks


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    given = make_parser().parse_args(argv[1:])
    check_safety_settings(given.region)
    check_server_options(given)
    from lightning_med.serving.server.audit_file import AuditFile
    from lightning_med.serving.server.listening import bind, run
    from lightning_med.serving.server.marks import Marks

    with ExitStack() as stack:
        audit = stack.enter_context(closing(AuditFile(given.audit))) if given.audit else None
        listening = stack.enter_context(bind(given.host, given.port))
        marks = stack.enter_context(closing(Marks(given.marks))) if given.marks else None
        service = _open_upstream(given) if given.upstream else open_service(given, given.slots)
        stack.callback(service.close)
        from lightning_med.serving.server.app import make_app  # takes seconds, like the model

        settings = _choose_settings(given, service, marks, audit)
        stack.callback(settings.audit.close)
        app = make_app(service, settings)
        _say_where(given, listening)
        run(app, listening)
    return 0


def _open_upstream(given: argparse.Namespace) -> ChatService:
    from lightning_med.inference.decoding import Decoding
    from lightning_med.inference.model_folder import open_export
    from lightning_med.serving.chat_service import ChatService
    from lightning_med.serving.upstream.writer import UpstreamLimits, UpstreamWriter
    from lightning_med.tokenization.prompts import SYSTEM_PROMPT

    prompt, decoding = SYSTEM_PROMPT, Decoding()
    if given.model:
        model = open_export(Path(given.model))
        prompt, decoding = model.encoder.prompt.system, model.decoding
    writer = UpstreamWriter(
        given.upstream,
        given.upstream_model,
        os.environ.get("LIGHTNING_MED_UPSTREAM_KEY"),
        prompt,
        read_decoding(given, decoding),
        UpstreamLimits(connections=given.slots),
    )
    return ChatService(writer, given.region, given.safety == "on")


def _choose_settings(
    given: argparse.Namespace, service: ChatService, marks: Marks | None, audit: AuditFile | None
) -> ServerSettings:
    from lightning_med.serving.model_facts import read_model_facts
    from lightning_med.serving.server.app import ServerSettings
    from lightning_med.serving.server.audit import Audit

    facts = [] if given.upstream and not given.model else read_model_facts(find_model(given))
    name = getattr(service.writer, "model", None) or dict(facts)["Model"]
    login = tuple(given.auth.split(":", 1)) if given.auth else None
    return ServerSettings(
        name,
        facts or [("Model", name)],
        given.slots + given.queue,
        given.rate,
        given.api_key,
        login,
        LOCAL_HOSTS if given.host in LOCAL_HOSTS else None,
        given.public_name,
        marks,
        Audit(audit, name, upstream=bool(given.upstream)),
        tuple(given.proxy),
    )


def _say_where(given: argparse.Namespace, listening: socket.socket) -> None:
    host = f"[{given.host}]" if ":" in given.host else given.host
    url = f"http://{host}:{listening.getsockname()[1]}"
    with json_output.collect_result(given.json) as result:
        print(f"{DISCLAIMER}\n\npage      {url}\nprograms  {url}/v1 (OpenAI protocol)\nend       Ctrl-C", flush=True)
        result |= {"page": url, "programs": f"{url}/v1"}
