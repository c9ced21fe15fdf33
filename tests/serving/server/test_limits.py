"""Whose pace is counted: addresses with ports and brackets, networks of IPv6, and what a client may write itself."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

pytest.importorskip("gradio")

from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from lightning_med.serving.server.limits import LimitRate

PROXIES = tuple(map(ip_network, ("127.0.0.1", "10.0.0.0/8", "fd00::/8")))


def count(*requests: tuple[str, str | None], proxies: bool = True) -> list[bool]:
    """Whether each request is of a client that has not asked before, by its peer and its header."""
    app = LimitRate(PlainTextResponse("ok"), 1, PROXIES if proxies else ())
    headers = [{} if named is None else {"x-forwarded-for": named} for _, named in requests]
    peers = [TestClient(app, client=(peer, 50_000)) for peer, _ in requests]
    statuses = [
        peer.post("/v1/completions", headers=sent).status_code for peer, sent in zip(peers, headers, strict=True)
    ]
    assert set(statuses) <= {200, 429}
    return [status == 200 for status in statuses]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("203.0.113.7", "203.0.113.7:51234"),
        ("203.0.113.7:51234", "203.0.113.7:51235"),
        ("203.0.113.7", "::ffff:203.0.113.7"),
        ("[2001:db8::1]:443", "[2001:db8::1]:444"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8:0:0:ffff::9"),
        ("203.0.113.7", "198.51.100.1, 203.0.113.7:1, 10.0.0.9:2, [fd00::1]:3"),
        ("unknown", "_hidden"),
        ("not an address", ""),
        ("", "203.0.113.7, nobody"),
    ],
)
def test_a_client_of_a_proxy_is_one_however_it_is_written(first: str, second: str) -> None:
    assert count(("127.0.0.1", first), ("127.0.0.1", second)) == [True, False]


@pytest.mark.parametrize("second", ["203.0.113.8:51234", "[2001:db8::1]:51234", "[2001:db8:0:1::1]", "nobody"])
def test_other_clients_of_a_proxy_have_a_pace_of_their_own(second: str) -> None:
    others = [("127.0.0.1", "203.0.113.7:51234"), ("127.0.0.1", "2001:db8:0:2::1"), ("127.0.0.1", second)]
    assert count(*others) == [True] * 3


def test_a_proxy_that_names_nobody_is_itself_the_client() -> None:
    assert count(("127.0.0.1", None), ("127.0.0.1", "nobody"), ("10.0.0.1", "nobody")) == [True, False, True]


def test_a_proxy_is_known_in_the_form_of_ipv6() -> None:
    """As at `--host ::`, where IPv4 comes in this form."""
    requests = [("::ffff:127.0.0.1", "203.0.113.7"), ("::ffff:127.0.0.1", "203.0.113.8"), ("127.0.0.1", "203.0.113.7")]
    assert count(*requests) == [True, True, False]


@pytest.mark.parametrize("proxies", [False, True])
def test_a_client_chooses_no_address(proxies: bool) -> None:
    for one, other in (("2001:db8::1", "2001:db8::2"), ("192.0.2.1", "::ffff:192.0.2.1"), ("", "")):
        assert count((one, "203.0.113.7"), (other, "203.0.113.8"), proxies=proxies) == [True, False]
