"""`lightning-med serve`: a page to talk to a model, and the OpenAI protocol, on one port."""

from __future__ import annotations

import argparse
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.cli.parsing.model_options import (
    add_decoding_options,
    add_model_options,
    choose_folder,
    open_service,
)
from lightning_med.cli.verbs.triage import check_safety_settings
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.utils.errors import InputError, check_range

if TYPE_CHECKING:
    import socket

    from lightning_med.serving.server.app import ServerSettings

_DESCRIPTION = """Serve a model: a page to talk to it, and the OpenAI protocol at /v1, on one port. Questions are
triaged before the model and answers are guarded after it, on the page and in the protocol alike."""
_LOCAL = ("127.0.0.1", "::1", "localhost")
_NEEDED = ("fastapi", "uvicorn", "gradio", "prometheus_client")


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    given = _make_parser().parse_args(argv[1:])
    _check(given)
    from lightning_med.serving.server.app import bind, make_app, run

    with bind(given.host, given.port) as listening:
        service = open_service(given, given.slots)
        try:
            app = make_app(service, _choose_settings(given))
            _say(given, listening)
            run(app, listening)
        finally:
            service.close()
    return 0


def _make_parser() -> Parser:
    parser = Parser("lightning-med serve", _DESCRIPTION)
    add_model_options(parser)
    add_decoding_options(parser)
    parser.add_argument(
        "--host", default=_LOCAL[0], help="address to listen at; any but this machine's own needs --auth"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes any that is free (8000)")
    parser.add_argument(
        "--auth",
        metavar="NAME:PASSWORD",
        help="that the page asks for (default: $LIGHTNING_MED_AUTH, which other users of the machine cannot see)",
    )
    parser.add_argument(
        "--api_key",
        metavar="KEY",
        help="that programs must send (default: $LIGHTNING_MED_API_KEY, else the password of --auth, else none)",
    )
    parser.add_argument("--slots", type=int, default=32, help="answers that are written side by side; others wait (32)")
    parser.add_argument("--queue", type=int, default=256, help="questions that may wait; more are refused (256)")
    parser.add_argument("--rate", type=int, default=300, help="questions of one client's address a minute (300)")
    parser.add_argument(
        "--marks",
        type=Path,
        metavar="FILE",
        help="keep the good and bad marks that people give to answers in this SQLite file, with their question and"
        " answer, private data replaced (default: no marks)",
    )
    return parser


def _check(given: argparse.Namespace) -> None:
    """Refuses what cannot work, before anything is loaded."""
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise InputError(f"serve needs {', '.join(missing)}.", 'pip install "lightning_med[app]"')
    check_safety_settings(given.region)
    given.auth = given.auth or os.environ.get("LIGHTNING_MED_AUTH")
    given.api_key = given.api_key or os.environ.get("LIGHTNING_MED_API_KEY")
    name, _, password = (given.auth or "").partition(":")
    if given.auth and not (name and password):
        raise InputError("--auth takes NAME:PASSWORD.", "For instance: --auth clinic:a-long-password")
    if given.host not in _LOCAL and not given.auth:
        raise InputError(
            f"--host {given.host} lets other machines in, and needs --auth NAME:PASSWORD.",
            "Set $LIGHTNING_MED_AUTH, and put a proxy with TLS before it: passwords travel as they are without.",
        )
    given.api_key = given.api_key or password or None
    for option, lowest in (("slots", 1), ("queue", 0), ("rate", 1), ("port", 0)):
        check_range(f"--{option}", getattr(given, option), lowest)


def _choose_settings(given: argparse.Namespace) -> ServerSettings:
    from lightning_med.serving.model_facts import read_model_facts
    from lightning_med.serving.server.app import ServerSettings

    folder = choose_folder(given)
    facts = read_model_facts(folder)
    return ServerSettings(dict(facts)["Model"], facts, given.slots + given.queue, given.rate, given.api_key)


def _say(given: argparse.Namespace, listening: socket.socket) -> None:
    host = f"[{given.host}]" if ":" in given.host else given.host
    url = f"http://{host}:{listening.getsockname()[1]}"
    print(f"{DISCLAIMER}\n\npage       {url}\nprotocol   {url}/v1 (OpenAI)\nstop       Ctrl-C", flush=True)
