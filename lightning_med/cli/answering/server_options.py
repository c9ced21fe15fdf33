"""Options of `serve`, and what is refused before anything is loaded."""

from __future__ import annotations

import argparse
import importlib.util
import ipaddress
import os
from pathlib import Path

from lightning_med.cli.answering.model_options import add_decoding_options, add_model_options, check_decoding
from lightning_med.cli.parsing.arguments import Parser
from lightning_med.utils.errors import InputError, check_range

_DESCRIPTION = """Serve a model: a page to talk to it, and the OpenAI protocol at /v1, on one port. Questions are
triaged before the model and answers are guarded after it, on the page and in the protocol alike."""
LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")
_NEEDED = ("fastapi", "uvicorn", "gradio", "prometheus_client", "httpx2")
_SLOTS, _UPSTREAM_SLOTS = 32, 64


def make_parser() -> Parser:
    """Returns the parser of `serve`."""
    parser = Parser("lightning-med serve", _DESCRIPTION)
    add_model_options(parser)
    add_decoding_options(parser)
    _add_address(parser)
    slots = f"answers that are written side by side; others wait ({_SLOTS}; {_UPSTREAM_SLOTS} with --upstream)"
    parser.add_argument("--slots", type=int, help=slots)
    parser.add_argument("--queue", type=int, default=256, help="questions that may wait; more are refused (256)")
    parser.add_argument("--rate", type=int, default=300, help="questions of one client's address a minute (300)")
    parser.add_argument(
        "--marks",
        type=Path,
        metavar="FILE",
        help="keep the good and bad marks that people give to answers in this SQLite file, with their question and"
        " answer, private data replaced (default: no marks)",
    )
    parser.add_argument(
        "--audit",
        type=Path,
        metavar="FILE",
        help="append a line of JSON for each question to this file: when, how dangerous, what the guard changed, what"
        " became of it, and no text of anyone. While it cannot be written no question is answered (default: no log)",
    )
    parser.add_argument(
        "--upstream",
        metavar="URL",
        help="let another server of the OpenAI protocol write the answers (vLLM, SGLang, llama.cpp, Ollama), for"
        " instance http://127.0.0.1:8001; its API key is $LIGHTNING_MED_UPSTREAM_KEY. --model names the export that it"
        " serves, whose system prompt and decoding settings hold then",
    )
    parser.add_argument("--upstream_model", metavar="NAME", help="which of its models (the only one)")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the addresses as one line of JSON on standard output, once it listens",
    )
    return parser


def _add_address(parser: Parser) -> None:
    parser.add_argument(
        "--host", default=LOCAL_HOSTS[0], help="address to listen at; any but this machine's needs --auth"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes any that is free (8000)")
    parser.add_argument(
        "--public_name", metavar="HOST", help="host name by which a proxy before this server is called; needs --auth"
    )
    parser.add_argument(
        "--proxy",
        metavar="ADDRESS",
        action="append",
        default=[],
        help="address or network of a proxy, whose header X-Forwarded-For then says whose pace --rate counts; may be"
        " given again (default: no such header is read, and a proxy is one client)",
    )
    parser.add_argument(
        "--auth",
        metavar="NAME:PASSWORD",
        help="that the page asks for (default: $LIGHTNING_MED_AUTH, which other users of the machine cannot see)",
    )
    parser.add_argument(
        "--auth_file",
        type=Path,
        metavar="FILE",
        help="with NAME:PASSWORD, in the place of --auth (default: $LIGHTNING_MED_AUTH_FILE)",
    )
    parser.add_argument(
        "--api_key",
        metavar="KEY",
        help="that programs must send (default: $LIGHTNING_MED_API_KEY, else the password of --auth, else none)",
    )


def check_server_options(given: argparse.Namespace) -> None:
    """Refuses what cannot work, and fills in defaults that depend on other options.

    Raises:
        InputError: A package is missing, a setting is out of its range, or two exclude each other.
    """
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise InputError(f"serve needs {', '.join(missing)}.", 'pip install "lightning-med[app]"')
    check_decoding(given)
    if given.audit and given.marks and given.audit.resolve() == given.marks.resolve():
        raise InputError(f"--audit and --marks both name {given.audit}.", "Name two files.")
    _check_access(given)
    _check_upstream(given)
    given.slots = (_UPSTREAM_SLOTS if given.upstream else _SLOTS) if given.slots is None else given.slots
    for option, lowest, highest in (("slots", 1, 256), ("queue", 0, 100_000), ("rate", 1, 1e6), ("port", 0, 65535)):
        check_range(f"--{option}", getattr(given, option), lowest, highest)


def _check_access(given: argparse.Namespace) -> None:
    if given.auth and given.auth_file:
        raise InputError("--auth and --auth_file exclude each other.", "Leave one of them out.")
    given.auth = given.auth or _read_login(given.auth_file) or os.environ.get("LIGHTNING_MED_AUTH")
    given.api_key = given.api_key or os.environ.get("LIGHTNING_MED_API_KEY")
    name, _, password = (given.auth or "").partition(":")
    if given.auth and not (name and password):
        raise InputError("--auth takes NAME:PASSWORD.", "For instance: --auth clinic:a-long-password")
    opened = f"--host {given.host}" if given.host not in LOCAL_HOSTS else given.public_name and "--public_name"
    if opened and not given.auth:
        raise InputError(
            f"{opened} lets other machines in, and needs --auth NAME:PASSWORD.",
            "Set $LIGHTNING_MED_AUTH, and put a proxy with TLS before it: without, passwords can be read on the way.",
        )
    given.api_key = given.api_key or password or None
    given.proxy = [_read_proxy(address) for address in given.proxy]


def _read_proxy(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise InputError(f"--proxy: {error}.", "For instance: --proxy 127.0.0.1, or --proxy 172.17.0.0/16") from error
    if network.prefixlen == 0:
        raise InputError(f"--proxy {text} would believe every client.", "Name the addresses of your proxies alone.")
    if mapped := getattr(network.network_address, "ipv4_mapped", None):
        raise InputError(
            f"--proxy {text} is an address of IPv4 in the form of IPv6.", f"For instance: --proxy {mapped}"
        )
    return network


def _read_login(path: Path | None) -> str | None:
    """The login in a file, such as a secret of a container or of systemd; a file that is named must hold one."""
    path = path or (Path(named) if (named := os.environ.get("LIGHTNING_MED_AUTH_FILE")) else None)
    if path is None:
        return None
    try:
        login = path.read_text(encoding="utf-8-sig").strip()  # editors on Windows may write a mark first
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"--auth_file {path} cannot be read: {reason}.", "Its one line is NAME:PASSWORD.") from error
    name, _, password = login.partition(":")
    if not (name and password) or "\n" in login:
        raise InputError(f"--auth_file {path} does not hold a login.", "Its one line is NAME:PASSWORD.")
    return login


def _check_upstream(given: argparse.Namespace) -> None:
    if given.upstream is None:
        if given.upstream_model:
            raise InputError("--upstream_model needs --upstream URL.", "Or leave it out.")
        return
    for name in ("engine", "dtype"):
        if getattr(given, name) != "auto":
            raise InputError(f"--{name} and --upstream exclude each other.", "The upstream server has its own engine.")
