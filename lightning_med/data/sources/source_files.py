"""Finds the table files of a source: a file, a folder, a glob, an archive, a download."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from lightning_med.data.sources.kaggle import download_dataset
from lightning_med.data.sources.table_places import (
    ARCHIVE,
    KNOWN_SUFFIXES,
    SUFFIXES,
    WORKBOOKS,
    TablePlace,
    find_format,
    locate_table,
)
from lightning_med.data.sources.table_streams import list_members
from lightning_med.utils import hub
from lightning_med.utils.errors import InputError

_NOT_TABLES = ("dataset_infos.json", "dataset-metadata.json")  # the Hub's and Kaggle's metadata of a data set
_MAX_LISTED = 12  # files of an archive that a message names
_HIDDEN = re.compile(r"\.|~\$|(__MACOSX|data_report|lightning_logs)$")  # the last two are of `prepare` and `fit`
_LEFT_OUT = "hidden files, data_report and lightning_logs are left out."


def find_files(path: str, option: str = "--data.source") -> list[Path]:
    """Returns the table files of a source in a fixed order; downloads them if need be.

    Of several, a compressed copy of another is left out, and so are workbooks beside other tables.

    Args:
        path: See `Source.path`.
        option: The setting that names it, for messages.

    Raises:
        InputError: Nothing is there, it cannot be reached, or it holds no table.
    """
    files = _find_all(path, option)
    aside = _find_aside(files)
    return [file for file in files if file not in aside]


def note_left_out(path: str) -> list[str]:
    """Returns one line about the tables of a source that `find_files` leaves out, if there are any."""
    files = _find_all(path, "--data.source")
    names = [str(file) for file in files if file in _find_aside(files)]
    if not names:
        return []
    shown = ", ".join(names[:_MAX_LISTED]) + " …" * (len(names) > _MAX_LISTED)
    return [f"{path}: copies of other tables, or workbooks beside them, are not read unless they are named: {shown}."]


def _find_aside(files: list[Path]) -> set[Path]:
    """Returns those of a source's files that are not its tables: compressed copies, and a codebook or the like."""
    all_files = set(files)
    copies = {file for file in files if find_format(file.name)[1] and file.with_suffix("") in all_files}
    books = {file for file in files if find_format(file.name)[0] in WORKBOOKS}
    return copies | (books if books < all_files - copies else set())


def _find_all(path: str, option: str) -> list[Path]:
    if path == "sample":
        from lightning_med.data import sample

        return [sample.PATH]
    for scheme, download in (("kaggle:", download_dataset), ("hub:", _download_from_hub)):
        if path.startswith(scheme):
            return _find_tables(download(path.removeprefix(scheme)), path)
    place = Path(path).expanduser()
    if place.is_dir():
        return _find_tables(place, path)
    located = locate_table(place)
    if located.file.is_file():
        return _find_in_file(located, place, path)
    found = [Path(name) for name in glob.glob(str(place), recursive=True)]
    zipped = place.suffix.lower() == ARCHIVE  # asked for; elsewhere it may be a copy of the files beside it
    found = sorted(
        file
        for file in found
        if (_is_table(file) or (zipped and file.is_file())) and not _is_hidden(file.parts, place.parts)
    )
    files = [table for file in found for table in _find_in_file(locate_table(file), file, str(file))]
    if not files:
        raise InputError(
            f"{path}: no such file or folder.",
            f"{option} takes a file, a folder, a glob, kaggle:OWNER/NAME, hub:OWNER/NAME, sample, or a list.",
        )
    return files


def name_files(files: list[Path]) -> list[str]:
    """Returns short unique names for reports: the file's, with as many of its folders as tell it from the others."""
    parts = [file.absolute().parts for file in files]
    names: list[str] = []
    for own in parts:
        length = 1
        while length < len(own) and sum(other[-length:] == own[-length:] for other in parts) > 1:
            length += 1
        names.append("/".join(own[-length:]))
    return names


def _is_table(path: Path) -> bool:
    return bool(find_format(path.name)[0]) and path.is_file() and path.name not in _NOT_TABLES


def _find_in_file(located: TablePlace, place: Path, path: str) -> list[Path]:
    """Returns the tables of a file: itself, a sheet of it, or those in an archive or in a folder of that."""
    if located.file.suffix.lower() == ARCHIVE:
        return _find_in_archive(located, place, path)
    if not located.format:
        raise InputError(
            f"{path} is not a table in a known format.",
            f"Known suffixes: {KNOWN_SUFFIXES}; {ARCHIVE}; save or unpack it as one.",
        )
    return [place]


def _find_in_archive(located: TablePlace, place: Path, path: str) -> list[Path]:
    members = list_members(located.file)
    if located.member in members and located.format:
        return [place]
    inside = [names for names in members if names[: len(located.member)] == located.member]
    tables = sorted(names for names in inside if find_format(names[-1])[0] and names[-1] not in _NOT_TABLES)
    files = [located.file.joinpath(*names) for names in tables if not _is_hidden(names[len(located.member) :])]
    if not files:
        shown = ", ".join(sorted("/".join(names) for names in members)[:_MAX_LISTED]) or "nothing"
        raise InputError(
            f"{path} holds no table. The archive has: {shown}{' …' * (len(members) > _MAX_LISTED)}.",
            f"Known suffixes: {KNOWN_SUFFIXES}; archives inside it are not opened, {_LEFT_OUT}",
        )
    return files


def _is_hidden(parts: Iterable[str], pattern: Iterable[str] = ()) -> bool:
    """Whether a file or one of its folders is a copy, a lock, an archive's or a report, and no pattern asks for it."""
    asked = [part for part in pattern if _HIDDEN.match(part)]
    return any(not any(fnmatch(part, one) for one in asked) for part in parts if _HIDDEN.match(part))


def _find_tables(folder: Path, path: str) -> list[Path]:
    files = sorted(
        file for file in folder.rglob("*") if not _is_hidden(file.relative_to(folder).parts) and _is_table(file)
    )
    if not files:
        archives = (file.relative_to(folder) for file in sorted(folder.rglob(f"*{ARCHIVE}")))
        archive = next((folder / file for file in archives if not _is_hidden(file.parts)), None)
        named = f" Archives in a folder are not opened; name one: {archive}" if archive else ""
        raise InputError(f"{path} holds no table.", f"Known suffixes: {KNOWN_SUFFIXES}; {_LEFT_OUT}{named}")
    return files


def _download_from_hub(name: str) -> Path:
    return hub.download(name, "--data.source FOLDER", [f"*{suffix}" for suffix in SUFFIXES], repo_type="dataset")
