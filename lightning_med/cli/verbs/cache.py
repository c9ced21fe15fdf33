"""`lightning-med cache`: what is kept on this machine's disk, and clearing it."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_med.cli.output import json_output
from lightning_med.cli.parsing.arguments import Parser
from lightning_med.data.preparation.cache.cache_folder import find_cache_root
from lightning_med.data.preparation.cache.entries import Entry, delete_entry, list_entries, measure_size
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError, check_range

_DESCRIPTION = """Show what this package keeps on disk: prepared data (clean rows, and the tokens made of them), files
that llama.cpp reads, and digests of sources. --clear deletes; what is in use stays. Data is prepared again by the next
command that needs it."""
_CLEARED: dict[str, tuple[str, ...]] = {
    "data": ("rows", "tokens", "leftovers"),
    "rows": ("rows",),
    "tokens": ("tokens",),
    "gguf": ("gguf",),
    "digests": ("digests",),
}
_CLEARED["all"] = ("rows", "tokens", "leftovers", "gguf", "digests")
_DAY = 86_400  # seconds


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    given = make_parser().parse_args(argv[1:])
    _check(given)
    root = find_cache_root(given.cache_dir)
    if root.exists() and not root.is_dir():
        raise InputError(f"The cache {root} is no folder.", "Name its folder: --cache_dir DIR")
    before = math.inf if given.older_than is None else time.time() - given.older_than * _DAY
    with json_output.collect_result(given.json) as result:
        with show_progress("Measuring") as progress:
            progress(str(root), 0, 0)
            kinds = _CLEARED[given.clear or "all"]
            entries = [entry for entry in list_entries(root) if entry.kind in kinds and entry.used <= before]
            others = [] if given.clear else _measure_others()
        result |= {"cache": root, "entries": [_describe(entry) for entry in entries]}
        result |= {"bytes": _sum(entries), "others": [{"path": path, "bytes": size} for path, size in others]}
        if entries:
            _print_table(entries, root)
        else:
            print(f"{root}: {_explain_nothing(given)}.")
        if given.clear is None:
            _print_others(others)
        elif entries and (given.yes or _confirm(entries)):
            result |= _delete(entries, before)
        else:
            result |= {"deleted": [], "in_use": []}
    return 0


def make_parser() -> Parser:
    """Returns the parser of `cache`."""
    parser = Parser("lightning-med cache", _DESCRIPTION)
    kinds = "data (rows and tokens), rows, tokens, gguf, digests, or all"
    parser.add_argument("--clear", choices=tuple(_CLEARED), help=f"delete: {kinds}")
    parser.add_argument("--older_than", type=float, metavar="DAYS", help="only what was last used before so many days")
    parser.add_argument("--yes", action="store_true", help="do not ask before --clear; needed in a pipe")
    parser.add_argument(
        "--cache_dir",
        metavar="DIR",
        help="the cache (default: $LIGHTNING_MED_CACHE, else ~/.cache/lightning_med)",
    )
    parser.add_argument("--json", action="store_true", help=json_output.HELP)
    return parser


def _check(given: argparse.Namespace) -> None:
    if given.older_than is not None:
        check_range("--older_than", given.older_than, 0)
    if given.yes and not given.clear:
        raise InputError("--yes belongs to --clear.", "For instance --clear data --yes")
    if given.clear and not given.yes and not sys.stdin.isatty():
        raise InputError(
            f"--clear {given.clear} asks before it deletes, and there is no terminal.", "Add --yes to delete."
        )


def _explain_nothing(given: argparse.Namespace) -> str:
    kind = "" if given.clear in (None, "all") else f" of the kind {given.clear}"
    age = "" if given.older_than is None else f" that was last used more than {given.older_than:g} days ago"
    return f"nothing{kind} is kept there{age}"


def _print_table(entries: Sequence[Entry], root: Path) -> None:
    lines = [("kind", "what", "size", "last used", "name")]
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        lines.append((entry.kind, entry.what, _format_size(entry.size), used, str(entry.path.relative_to(root))))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for kind, what, size, used, name in lines:
        print(f"{kind:<{widths[0]}}  {what:<{widths[1]}}  {size:>{widths[2]}}  {used:<{widths[3]}}  {name}")
    print(f"{root}: {_format_size(_sum(entries))} in all.")


def _measure_others() -> list[tuple[Path, int]]:
    """Returns the caches of other packages where downloads lie, with their bytes."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    hub = Path(os.environ.get("HF_HOME") or home / "huggingface") / "hub"
    folders = (os.environ.get("KAGGLEHUB_CACHE") or Path("~/.cache/kagglehub"), os.environ.get("HF_HUB_CACHE") or hub)
    paths = [Path(folder).expanduser() for folder in folders]
    return [(path, measure_size(path)) for path in paths if path.is_dir()]


def _print_others(others: Sequence[tuple[Path, int]]) -> None:
    for path, size in others:
        print(f"Downloads in another package's cache, not cleared by this command: {path}, {_format_size(size)}.")


def _confirm(entries: Sequence[Entry]) -> bool:
    """Asks on the terminal; anything but yes is no."""
    print(f"Delete {_count(entries)}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _delete(entries: Sequence[Entry], before: float) -> dict[str, Any]:
    """Deletes entries that were not used after a time, says so, and returns which are deleted and which are in use."""
    deleted: list[Entry] = []
    kept: list[Entry] = []
    try:
        with show_progress("Deleting") as progress:
            for number, entry in enumerate(entries):
                progress(str(entry.path), number, len(entries))
                (deleted if delete_entry(entry, before) else kept).append(entry)
    except OSError as error:
        raise InputError(
            f"{error.filename or entry.path} cannot be deleted: {error.strerror}.", "Check its permissions."
        ) from error
    finally:
        print(f"Deleted {_count(deleted)}.")
    for entry in kept:
        print(f"Kept {entry.path}: a process uses it, or has used it just now.")
    return {"deleted": [entry.path for entry in deleted], "in_use": [entry.path for entry in kept]}


def _describe(entry: Entry) -> dict[str, Any]:
    used = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.used))
    return {"kind": entry.kind, "what": entry.what, "path": entry.path, "bytes": entry.size, "last_used": used}


def _count(entries: Sequence[Entry]) -> str:
    return f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}, {_format_size(_sum(entries))}"


def _sum(entries: Sequence[Entry]) -> int:
    return sum(entry.size for entry in entries)


def _format_size(size: float) -> str:
    """Returns bytes in the unit that leaves one to three digits before the point."""
    units = ("B", "kB", "MB", "GB", "TB")
    power = 0
    while size >= 999.5 and power < len(units) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.0f} {units[power]}" if power == 0 or size >= 99.95 else f"{size:.1f} {units[power]}"
