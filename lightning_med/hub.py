"""What comes from the Hugging Face Hub, and what can go wrong on the way, said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_med.errors import InputError


@contextmanager
def reaching(name: str, option: str) -> Iterator[None]:
    """Turns the errors of a download from the Hub into one `InputError`.

    Args:
        name: What is fetched, for the message.
        option: How a local copy is named instead, for instance `--model.base FOLDER`.
    """
    from huggingface_hub import constants, errors
    from safetensors import SafetensorError

    local = f"Work from a local copy: {option}"
    try:
        yield
    except (errors.RepositoryNotFoundError, errors.GatedRepoError, errors.RevisionNotFoundError) as error:
        what = f"{name}: the Hub has no such public repository, or it asks for a login."
        raise InputError(what, f"Check the name, or run `hf auth login`. {local}") from error
    except errors.HFValidationError as error:
        raise InputError(f"{name} is neither a folder here nor a repository's name on the Hub.", local) from error
    except Exception as error:
        # The Hub's client raises its transport's errors, of a library whose name changes from version to version.
        if not isinstance(error, (OSError, ValueError, SafetensorError)) and not type(error).__module__.startswith(
            "httpx"
        ):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        if Path(name).is_dir():
            what = f"{name} is a folder, but what is asked of it cannot be loaded: {reason}"
        else:
            what = f"{name}: tried this machine's cache and {constants.ENDPOINT}, and got it from neither ({reason})."
        raise InputError(what, local) from error


def fetched(name: str, option: str, patterns: list[str], repo_type: str = "model") -> Path:
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
    with reaching(f"hub:{name}" if repo_type == "dataset" else name, option):
        from huggingface_hub import snapshot_download

        ignored = ["*/*"] if repo_type == "model" else None  # other formats of the same weights
        return Path(snapshot_download(name, repo_type=repo_type, allow_patterns=patterns, ignore_patterns=ignored))
