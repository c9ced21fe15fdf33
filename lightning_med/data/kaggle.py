"""Data sets from Kaggle, and what can go wrong on the way, said in one line."""

from __future__ import annotations

from pathlib import Path

from lightning_med.errors import InputError

_LOGIN = "Set KAGGLE_USERNAME and KAGGLE_KEY, or put kaggle.json into ~/.kaggle. "


def fetched(handle: str) -> Path:
    """The folder of a data set, from kagglehub's cache or downloaded into it, unmodified.

    Args:
        handle: `OWNER/NAME`.

    Raises:
        InputError: Kaggle refuses, has no such data set, cannot be reached, or sends what is none.
    """
    import kagglehub
    from kagglehub.exceptions import DataCorruptionError, KaggleApiHTTPError, UnauthenticatedError
    from kagglehub.handle import parse_dataset_handle

    local = f"Or download it by hand from kaggle.com/datasets/{handle} and give the file: --data.source FILE.csv"
    try:
        parse_dataset_handle(handle)
    except ValueError as error:
        raise InputError(f"kaggle:{handle} is not a data set's name.", "Expected: kaggle:OWNER/NAME") from error
    try:
        return Path(kagglehub.dataset_download(handle))
    except UnauthenticatedError as error:
        raise InputError(f"kaggle:{handle}: Kaggle asks for credentials and found none.", _LOGIN + local) from error
    except KaggleApiHTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        if status in (401, 403):
            what = (
                f"kaggle:{handle}: Kaggle refused access ({status}): no credentials, wrong ones, or none needed rights."
            )
            raise InputError(what, _LOGIN + local) from error
        raise InputError(f"kaggle:{handle}: Kaggle answered {status}. Is the name right?", local) from error
    except (ValueError, DataCorruptionError) as error:  # no archive, no JSON, or a broken kaggle.json
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"kaggle:{handle}: what Kaggle sent cannot be used: {reason}", local) from error
    except OSError as error:  # requests' errors are OSErrors
        raise InputError(f"kaggle:{handle}: Kaggle cannot be reached ({type(error).__name__}).", local) from error
