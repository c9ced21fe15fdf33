"""Downloads data sets from Kaggle and explains failures in one line."""

from __future__ import annotations

import shutil
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError, describe_error

_LOGIN = "Set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, or put kaggle.json into ~/.kaggle. "
_ATTEMPTS = 5  # at a download that breaks off
_CORRUPT_ARCHIVE = (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, tarfile.TarError, zlib.error)


def download_dataset(handle: str) -> Path:
    """Returns the folder of a data set in kagglehub's cache, downloaded if need be, unmodified.

    Kaggle is asked for the newest version. If it cannot answer, the newest version in the cache is used, and a line
    reports that. A version that is named (`OWNER/NAME/versions/3`) and in the cache needs no request.

    Args:
        handle: `OWNER/NAME` or `OWNER/NAME/versions/NUMBER`.

    Raises:
        InputError: Kaggle refuses, has no such data set, cannot be reached, or sends a corrupt archive.
    """
    from kagglehub import exceptions
    from kagglehub.handle import parse_dataset_handle

    try:
        parse_dataset_handle(handle)
    except ValueError as error:
        raise InputError(f"kaggle:{handle} is not a data set's name.", "Expected: kaggle:OWNER/NAME") from error
    corrupt = (*_CORRUPT_ARCHIVE, exceptions.DataCorruptionError)
    refused = (exceptions.UnauthenticatedError, exceptions.BackendError, exceptions.CredentialError)
    try:
        return _download(handle)
    except corrupt as error:  # a corrupt archive, invalid JSON, or a broken kaggle.json
        _remove_corrupt(handle)
        raise _make_error(handle, f"what Kaggle sent cannot be used: {_shorten_reason(error)}.") from error
    except (OSError, *refused) as error:  # requests' errors are OSErrors
        if _is_temporary(error) and (cached := _find_cached_version(handle)):
            say(f"kaggle:{handle}: Kaggle does not answer; version {cached.name} is taken from this machine's cache.")
            return cached
        raise _explain(handle, error) from error


def _download(handle: str) -> Path:
    """Downloads with kagglehub, which resumes a partial download but does not try again by itself."""
    import kagglehub
    from requests.exceptions import ChunkedEncodingError

    for _ in range(_ATTEMPTS - 1):
        try:
            return Path(kagglehub.dataset_download(handle))
        except ChunkedEncodingError:  # the connection ended before the body did
            time.sleep(1)
    return Path(kagglehub.dataset_download(handle))


def _find_cache_folder(handle: str) -> Path:
    """Returns kagglehub's folder of a data set.

    It holds `3.archive` during the download of version 3, then `versions/3` and the marker `3.complete`.
    """
    from kagglehub.cache import get_cached_path
    from kagglehub.handle import parse_dataset_handle

    return Path(get_cached_path(parse_dataset_handle("/".join(handle.split("/")[:2]))))


def _remove_corrupt(handle: str) -> None:
    """Removes partial archives and the files unpacked from them.

    kagglehub 1.0.2 keeps whatever arrived, even a login page, takes it for the beginning of the archive the next time
    and asks for the rest, so it never recovers. Files unpacked before the damage would count as the data set's.
    """
    folder = _find_cache_folder(handle)
    for archive in folder.glob("*.archive"):
        archive.unlink(missing_ok=True)
    for version in folder.glob("versions/*"):
        if not _is_complete(version):
            shutil.rmtree(version, ignore_errors=True)


def _is_complete(version: Path) -> bool:
    return (version.parents[1] / f"{version.name}.complete").exists()


def _find_cached_version(handle: str) -> Path | None:
    """Returns the newest complete version in the cache; kagglehub must ask Kaggle for its number to find it."""
    if handle.count("/") > 1:  # one version is named, and kagglehub has looked for it
        return None
    versions = _find_cache_folder(handle).glob("versions/*")
    complete = (version for version in versions if version.name.isdecimal() and _is_complete(version))
    return max(complete, key=lambda version: int(version.name), default=None)


def _get_status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _is_temporary(error: Exception) -> bool:
    """Whether Kaggle did not answer, or answered that it cannot at the moment."""
    from requests.exceptions import ConnectionError, Timeout

    status = _get_status(error)
    return isinstance(error, (ConnectionError, Timeout)) or status == 429 or (status is not None and status >= 500)


def _explain(handle: str, error: Exception) -> InputError:
    """Returns the message for an error of kagglehub, of `requests`, or of this machine."""
    from kagglehub.config import get_kaggle_credentials
    from kagglehub.exceptions import CredentialError, UnauthenticatedError
    from requests.exceptions import ChunkedEncodingError, RequestException

    status = _get_status(error)
    if isinstance(error, (UnauthenticatedError, CredentialError)):
        return _make_error(handle, "Kaggle asks for credentials, and there are none.", _LOGIN)
    if status in (401, 403):
        if get_kaggle_credentials():
            fault = f"Kaggle refused access ({status}): the credentials are wrong or lack permission."
        else:
            fault = f"Kaggle refused access ({status}) without credentials: the data set is private or does not exist."
        return _make_error(handle, fault, _LOGIN)
    if status == 404:
        return _make_error(handle, "Kaggle has no such data set (404).", "Check the name. ")
    if status is not None and _is_temporary(error):
        reason = "it had too many requests" if status == 429 else "the trouble is on its side"
        return _make_error(handle, f"Kaggle answered {status}: {reason}.", "Try again later. ")
    if isinstance(error, ChunkedEncodingError):
        fault = f"the download broke off, {_ATTEMPTS} times."
        return _make_error(handle, fault, "Start again: it resumes where it ended. ")
    if isinstance(error, RequestException) and status is None:
        return _make_error(handle, f"Kaggle cannot be reached ({type(error).__name__}).")
    return _make_error(handle, f"it could not be fetched: {_shorten_reason(error)}.")


def _make_error(handle: str, fault: str, hint: str = "") -> InputError:
    owner_and_name = "/".join(handle.split("/")[:2])
    by_hand = f"download it by hand from kaggle.com/datasets/{owner_and_name} and name it: --data.source archive.zip"
    return InputError(f"kaggle:{handle}: {fault}", f"{hint}Or {by_hand}")


def _shorten_reason(error: Exception) -> str:
    if type(error).__name__ == "JSONDecodeError":
        return "the answer is not from Kaggle, perhaps the login page of a network in between"
    return describe_error(error, 160).rstrip(".")
