"""Where a tracker logs: whether that is this machine, and its address without a login in it."""

from __future__ import annotations

import re

from lightning_med.utils.errors import describe_error

_LOGIN = re.compile(r"(?<=://)(?:[^/\s]*@|[^/\s:]*:\S*@)")  # USER:PASSWORD@; a password may have / and @ in it
_QUERY = re.compile(r"(://[^\s?]*)\?[^\s'\")]*")  # may have a password or token in it
_SECRET = re.compile(r"((?:token|password|passwd|pwd|secret|key)=)[^\s&'\")]+", re.IGNORECASE)


def find_scheme(place: str) -> str:
    """Returns the scheme of a URI, `sqlite` for `sqlite+pysqlite:…`; empty for a path."""
    if place.lower().startswith("databricks"):  # a word alone, or with a profile
        return "databricks"
    scheme, colon, _ = place.partition(":")
    return scheme.lower().partition("+")[0] if colon and len(scheme) > 1 else ""  # C: is a drive


def is_here(place: str) -> bool:
    """Returns whether a URI or path is known to be on this machine."""
    return find_scheme(place) in ("", "file", "sqlite")


def hide_login(text: str) -> str:
    """Returns a URI, or a text with some in it, without user, password and what is behind a question mark."""
    return _SECRET.sub(r"\1***", _QUERY.sub(r"\1", _LOGIN.sub("", text)))


def describe_failure(error: BaseException, limit: int) -> str:
    """Returns the first line of a library's error, up to `limit` characters, without logins."""
    return hide_login(describe_error(error))[:limit]
