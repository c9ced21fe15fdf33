"""What comes from the Hugging Face Hub, and what can go wrong on the way, said in one line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning_med.utils.errors import InputError

_LOGIN = "log in: set HF_TOKEN or run `hf auth login`."
_RESTARTS = 5  # of one file from its beginning
_WAIT = 60  # seconds that the Hub may ask us to wait in silence


@contextmanager
def explain_hub_errors(name: str, option: str) -> Iterator[None]:
    """Turns the errors of a download from the Hub, or of what is loaded from it, into one `InputError`.

    Args:
        name: What is fetched, for the message.
        option: How a local copy is named instead, for instance `--model.base FOLDER`.
    """
    from safetensors import SafetensorError

    try:
        yield
    except Exception as error:
        # The Hub's client raises its transport's errors, of a library whose name changes from version to version.
        from_client = type(error).__module__.split(".")[0] in ("httpx", "httpx2", "huggingface_hub", "hf_xet")
        if not from_client and not isinstance(error, (OSError, ValueError, SafetensorError)):
            raise
        raise _explain(name, f"Work from a local copy: {option}", error) from error


def download(name: str, option: str, patterns: list[str], repo_type: str = "model") -> Path:
    """A folder as it is, or a repository of the Hub, from this machine's cache or downloaded into it.

    Fetched as one: the loaders of transformers ask for file after file and, without a network, wait at each.

    Args:
        name: A folder, or a repository's name.
        option: How a local copy is named instead, for the message.
        patterns: The files wanted, at the top of a model's repository or anywhere in a data set's.
        repo_type: `model` or `dataset`.
    """
    if repo_type == "model" and Path(name).is_dir():
        return Path(name)
    with explain_hub_errors(f"hub:{name}" if repo_type == "dataset" else name, option), _limit_retries():
        from huggingface_hub import snapshot_download

        wanted = [*patterns, *(pattern.upper() for pattern in patterns)]
        ignored = ["*/*"] if repo_type == "model" else None  # other formats of the same weights
        try:
            folder = Path(snapshot_download(name, repo_type=repo_type, allow_patterns=wanted, ignore_patterns=ignored))
        except RuntimeError as error:  # hf_xet's for a connection that broke
            raise OSError(str(error)) from error
        _check_sizes(folder)
        return folder


def _explain(name: str, local: str, error: Exception) -> InputError:
    """The line for an error of the Hub's client, of its transport, of this machine, or of a loader."""
    from huggingface_hub import constants, errors

    while isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # "not in the cache either" hides why the Hub did not have it
    status = getattr(getattr(error, "response", None), "status_code", None)
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
    if isinstance(error, errors.GatedRepoError):
        what = f"{name}: the Hub gives this repository only to people who accepted its terms."
        return InputError(what, f"Accept them on its page at {constants.ENDPOINT}, then {_LOGIN} {local}")
    if isinstance(error, (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)):
        what = f"{name}: the Hub has no such public repository, or it asks for a login."
        return InputError(what, f"Check the name, or {_LOGIN} {local}")
    if isinstance(error, errors.HFValidationError):
        return InputError(f"{name} is neither a folder here nor a repository's name on the Hub.", local)
    if status in (401, 403):
        what = f"{name}: the Hub does not accept the token it was shown ({status}), or the token lacks the right."
        return InputError(what, f"Unset HF_TOKEN for what is public, or {_LOGIN} {local}")
    if status == 429:
        what = f"{name}: the Hub answered 429, too many requests from here."
        return InputError(what, f"Try again in some minutes: what arrived is kept. Or {_LOGIN} {local}")
    if Path(name).is_dir():
        return InputError(f"{name} is a folder, but what is asked of it cannot be loaded: {reason}", local)
    if isinstance(error, json.JSONDecodeError):
        reason = "its answer is not the Hub's, perhaps the login page of a network between"
    what = f"{name}: tried this machine's cache and {constants.ENDPOINT}, and got it from neither ({reason})."
    return InputError(what, local)


@contextmanager
def _limit_retries() -> Iterator[None]:
    """Ends what huggingface_hub would go on with for ever, or nearly.

    Found with 2.4.0: a file whose connection always ends in the middle, from a server that knows no ranges, is begun
    anew as long as each try brings 10 MB, until Python's stack is full after 482 tries and eight minutes; and
    `Retry-After: 3600` is slept through, five times, in silence.
    """
    from huggingface_hub import get_session

    restarts: Counter[str] = Counter()

    def look(response: Any) -> None:
        url = str(response.request.url)
        if "Range" in response.request.headers and response.status_code == 200:
            restarts[url] += 1
            if restarts[url] > _RESTARTS:
                raise OSError(f"the download broke off {_RESTARTS + 1} times, and this server does not resume")
        if response.status_code in (408, 429) or response.status_code >= 500:
            for header in ("Retry-After", "RateLimit"):
                if _parse_seconds(response.headers.get(header, "")) > _WAIT:
                    del response.headers[header]  # then it tries at its own, growing distances: 23 seconds in all

    hooks = get_session().event_hooks["response"]
    hooks.append(look)
    try:
        yield
    finally:
        hooks.remove(look)


def _parse_seconds(header: str) -> float:
    """How long `Retry-After: 30` and `RateLimit: "api";r=0;t=30` ask to wait; a date counts as long."""
    value = header.split("t=")[-1].split(";")[0].strip()
    return float(value) if value.isdecimal() else float("inf") if value else 0.0


def _check_sizes(folder: Path) -> None:
    """Compares a snapshot with the list of files that huggingface_hub keeps beside it, as far as it does.

    Found with 2.4.0: where neither the redirect nor the storage says how long a file is, as behind some mirrors, half
    a file counts as whole and stays in the cache.

    Raises:
        OSError: A file is shorter or longer than the Hub said; it is taken out of the cache.
    """
    listing = folder.parents[1] / "trees" / f"{folder.name}.json"
    if not listing.is_file():
        return
    sizes = {path: about.get("size") for path, about in json.loads(listing.read_text("utf-8"))["files"].items()}
    for path in (path for path in folder.rglob("*") if path.is_file()):
        told, found = sizes.get(path.relative_to(folder).as_posix()), path.stat().st_size
        if told is not None and told != found:
            with suppress(PermissionError):  # a cache that others keep
                path.resolve().unlink()
                path.unlink(missing_ok=True)  # the link to it, where the cache has links
            raise OSError(f"{path.name} has {found} bytes of {told} and was thrown away: start again")
