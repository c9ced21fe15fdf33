"""Data sets from Kaggle, and what can go wrong on the way, said in one line."""

from __future__ import annotations

import shutil
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError

_LOGIN = "Set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, or put kaggle.json into ~/.kaggle. "
_TRIES = 5  # of a download that breaks off
_NO_ARCHIVE = (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, tarfile.TarError, zlib.error)


def download_dataset(handle: str) -> Path:
    """The folder of a data set, from kagglehub's cache or downloaded into it, unmodified.

    Kaggle is asked for the newest version; where it cannot answer, the newest one in the cache does, and a line says
    so. `OWNER/NAME/versions/3`, once fetched, asks nobody.

    Args:
        handle: `OWNER/NAME` or `OWNER/NAME/versions/NUMBER`.

    Raises:
        InputError: Kaggle refuses, has no such data set, cannot be reached, or sends what is none.
    """
    from kagglehub import exceptions
    from kagglehub.handle import parse_dataset_handle

    try:
        parse_dataset_handle(handle)
    except ValueError as error:
        raise InputError(f"kaggle:{handle} is not a data set's name.", "Expected: kaggle:OWNER/NAME") from error
    corrupt = (*_NO_ARCHIVE, exceptions.DataCorruptionError)
    refused = (exceptions.UnauthenticatedError, exceptions.BackendError, exceptions.CredentialError)
    try:
        return _download(handle)
    except corrupt as error:  # no archive, no JSON, or a broken kaggle.json
        _forget(handle)
        raise _explain_failure(handle, f"what Kaggle sent cannot be used: {_find_reason(error)}.") from error
    except (OSError, *refused) as error:  # requests' errors are OSErrors
        if _may_pass(error) and (stored := _find_stored(handle)):
            say(f"kaggle:{handle}: Kaggle does not answer; version {stored.name} is taken from this machine's cache.")
            return stored
        raise _explain(handle, error) from error


def _download(handle: str) -> Path:
    """kagglehub's download, taken up where it broke off: kagglehub keeps what came, but does not try again itself."""
    import kagglehub
    from requests.exceptions import ChunkedEncodingError

    for _ in range(_TRIES - 1):
        try:
            return Path(kagglehub.dataset_download(handle))
        except ChunkedEncodingError:  # the connection ended before the body did
            time.sleep(1)
    return Path(kagglehub.dataset_download(handle))


def _folder(handle: str) -> Path:
    """Where kagglehub keeps a data set: `3.archive` while it arrives, then `versions/3` and the mark `3.complete`."""
    from kagglehub.cache import get_cached_path
    from kagglehub.handle import parse_dataset_handle

    return Path(get_cached_path(parse_dataset_handle("/".join(handle.split("/")[:2]))))


def _forget(handle: str) -> None:
    """Removes what is no archive, and what was unpacked of it.

    Found with kagglehub 1.0.2: it keeps what arrived, even a login page, takes it for the archive's beginning the next
    time and asks for the rest; together they are no archive, and it never recovers. Files unpacked before the damage
    stay, and count as the data set's when a later archive is sound.
    """
    for archive in _folder(handle).glob("*.archive"):
        archive.unlink(missing_ok=True)
    for version in _folder(handle).glob("versions/*"):
        if not _is_whole(version):
            shutil.rmtree(version, ignore_errors=True)


def _is_whole(version: Path) -> bool:
    return (version.parents[1] / f"{version.name}.complete").exists()


def _find_stored(handle: str) -> Path | None:
    """The newest whole version in the cache; kagglehub itself finds none without asking Kaggle for its number."""
    if handle.count("/") > 1:  # one version is wanted, and kagglehub looked for that one itself
        return None
    whole = (path for path in _folder(handle).glob("versions/*") if path.name.isdecimal() and _is_whole(path))
    return max(whole, key=lambda path: int(path.name), default=None)


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _may_pass(error: Exception) -> bool:
    """Whether Kaggle did not answer, or said that it cannot just now."""
    from requests.exceptions import ConnectionError, Timeout

    status = _status(error)
    return isinstance(error, (ConnectionError, Timeout)) or status == 429 or (status is not None and status >= 500)


def _explain(handle: str, error: Exception) -> InputError:
    """The line for an error of kagglehub, of `requests`, or of this machine."""
    from kagglehub.config import get_kaggle_credentials
    from kagglehub.exceptions import CredentialError, UnauthenticatedError
    from requests.exceptions import ChunkedEncodingError, RequestException

    status = _status(error)
    if isinstance(error, (UnauthenticatedError, CredentialError)):
        return _explain_failure(handle, "Kaggle asks for credentials and found none.", _LOGIN)
    if status in (401, 403) and get_kaggle_credentials():
        return _explain_failure(
            handle, f"Kaggle refused access ({status}): the credentials are wrong or lack the right.", _LOGIN
        )
    if status in (401, 403):
        what = f"Kaggle refused access ({status}) without credentials: the data set is not public, or there is none."
        return _explain_failure(handle, what, _LOGIN)
    if status == 404:
        return _explain_failure(handle, "Kaggle has no such data set (404).", "Check the name. ")
    if status is not None and _may_pass(error):
        trouble = "it had too many requests" if status == 429 else "the trouble is on its side"
        return _explain_failure(handle, f"Kaggle answered {status}: {trouble}.", "Try again later. ")
    if isinstance(error, ChunkedEncodingError):
        return _explain_failure(
            handle, f"the download broke off, {_TRIES} times.", "Start again: it goes on where it ended. "
        )
    if isinstance(error, RequestException) and status is None:
        return _explain_failure(handle, f"Kaggle cannot be reached ({type(error).__name__}).")
    return _explain_failure(handle, f"it could not be fetched: {_find_reason(error)}.")


def _explain_failure(handle: str, what: str, hint: str = "") -> InputError:
    owner_and_name = "/".join(handle.split("/")[:2])
    by_hand = f"download it by hand from kaggle.com/datasets/{owner_and_name} and give the file: --data.source FILE.csv"
    return InputError(f"kaggle:{handle}: {what}", f"{hint}Or {by_hand}")


def _find_reason(error: Exception) -> str:
    if type(error).__name__ == "JSONDecodeError":
        return "no answer of Kaggle's, perhaps the login page of a network between"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160].rstrip(".")
