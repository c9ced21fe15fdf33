"""Writing of checkpoints: atomic, with a digest, in the background."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from torch import Tensor

from lightning_med.checkpoints import digests
from lightning_med.checkpoints.reading import read_checkpoint
from lightning_med.utils.errors import RunError
from lightning_med.utils.files import sync_folder, write_atomically

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SPARE = 16 << 20  # bytes beside the tensors: settings, tokenizer, the archive's directory, logs


class AtomicCheckpointIO(CheckpointIO):
    """Writes under a temporary name, syncs, and renames, the digest before the file. A crash leaves the earlier file.

    With `storage_options={"then": function}` the tensors are copied to host memory, the file is written in a background
    thread, and the function is called when it is complete. At most one file is being written at a time; the next save,
    or `wait`, re-raises its error.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path, then = Path(path), (storage_options or {}).get("then")
        self.wait()
        check_space(checkpoint, path)
        if then is None:
            _write(checkpoint, path)
            return
        self._thread = self._thread or ThreadPoolExecutor(1, "checkpoint")
        self._writing = self._thread.submit(_write, copy_to_host(checkpoint), path, then)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(path)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)
        digests.get_digest_path(Path(path)).unlink(missing_ok=True)

    def raise_if_failed(self) -> None:
        """Re-raises the error of a write that has ended by now."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Waits for the write in progress, if there is one.

        Raises:
            RunError: The write failed.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def teardown(self) -> None:
        self.wait()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None


def check_space(checkpoint: dict[str, Any], path: Path) -> None:
    """Checks, before anything is written, that the disk has room for a checkpoint.

    Raises:
        RunError: It has not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    need, free = count_bytes(checkpoint) + _SPARE, shutil.disk_usage(path.parent).free
    if free < need:
        raise _disk_full_error(path, need, f"{free / 2**20:,.0f} MiB are free")


def count_bytes(checkpoint: Any) -> int:
    """Returns the bytes of all tensors in a checkpoint, shared storage counted once."""
    return sum(
        {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in _list_tensors(checkpoint)}.values()
    )


def copy_to_host(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Copies a checkpoint with its tensors to host memory; tensors that share their storage still do."""
    done: dict[tuple[Any, ...], Tensor] = {}

    def copy(value: Any) -> Any:
        if isinstance(value, Tensor):
            key = (value.untyped_storage().data_ptr(), value.storage_offset(), value.shape, value.stride(), value.dtype)
            if key not in done:
                done[key] = value.detach().to("cpu", copy=True)
            return done[key]
        if isinstance(value, dict):
            same = {name: copy(part) for name, part in value.items()}
            return same if type(value) is dict else type(value)(same)
        return type(value)(map(copy, value)) if type(value) in (list, tuple) else value

    return copy(checkpoint)  # type: ignore[no-any-return]


def _list_tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for part in parts for tensor in _list_tensors(part)]


def _write(checkpoint: dict[str, Any], path: Path, then: Callable[[], None] | None = None) -> None:
    try:
        with write_atomically(path) as temporary:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            digests.write_digest(path, temporary)
        sync_folder(path.parent)
        if then is not None:
            then()
    except (OSError, RuntimeError) as error:
        raise _describe_failure(error, checkpoint, path) from error


def _describe_failure(error: BaseException, checkpoint: dict[str, Any], path: Path) -> RunError:
    """Returns the error to report for a failed write; torch wraps the system's errors in its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, OSError) and cause.errno in _FULL:
        return _disk_full_error(path, count_bytes(checkpoint) + _SPARE, str(cause.strerror))
    why = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error).split("\n", maxsplit=1)[0]
    return RunError(
        f"{path} cannot be written: {why}.", "What was saved before is complete; fix it and continue with --resume auto"
    )


def _disk_full_error(path: Path, need: int, why: str) -> RunError:
    return RunError(
        f"{path} cannot be written: the disk is full ({why}); the checkpoint needs {need / 2**20:,.0f} MiB.",
        "What was saved before is complete: free that much and continue with --resume auto",
    )
