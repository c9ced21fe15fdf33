"""Where a table lies: in a file of its own, maybe compressed, in a zip archive, or on a sheet of a workbook.

A table inside a file is named by a path that goes on behind the file's: `data.zip/train.csv`, `clinic.xlsx/Patients`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

ARCHIVE = ".zip"
COMPRESSIONS = (".gz", ".bz2", ".xz")
LINES = (".csv", ".tsv", ".json", ".jsonl")  # what may be compressed
WORKBOOKS = (".xlsx", ".xls", ".ods")
FORMATS = (*LINES, ".parquet", *WORKBOOKS)
KNOWN_SUFFIXES = f"{', '.join(FORMATS)}; {', '.join(LINES)} also with {', '.join(COMPRESSIONS)}"  # for messages
SUFFIXES = (*FORMATS, *(form + end for form in LINES for end in COMPRESSIONS))


@dataclass(frozen=True)
class TablePlace:
    """Where a table lies.

    Attributes:
        file: The file on disk.
        member: The names, from folder to file, inside an archive; empty where it is none.
        sheet: The name of a workbook's sheet; empty where none is named.
        format: One of `FORMATS`; empty where it is unknown.
        compression: One of `COMPRESSIONS`; empty where it is not compressed.
    """

    file: Path
    member: tuple[str, ...]
    sheet: str
    format: str
    compression: str

    @property
    def is_packed(self) -> bool:
        """Whether its bytes are not those of the file."""
        return bool(self.member or self.compression)

    def digest(self, content: str) -> str:
        """Returns the digest of a table: its file's, and where the table lies inside that, if it does.

        Args:
            content: The digest of the file, in hexadecimal.
        """
        inside = "/".join([*self.member, *([self.sheet] if self.sheet else [])])
        return sha256(f"{content}/{inside}".encode(errors="surrogateescape")).hexdigest() if inside else content


def locate_table(path: Path) -> TablePlace:
    """Returns where a table lies; nothing need be there."""
    file = next((place for place in (path, *path.parents) if place.is_file()), path)
    inner = path.relative_to(file).parts
    member: tuple[str, ...] = ()
    if file.suffix.lower() == ARCHIVE:
        books = (end for end, name in enumerate(inner, 1) if find_format(name)[0] in WORKBOOKS)
        member = inner[: next(books, len(inner))]
        inner = inner[len(member) :]
    form, compression = find_format(member[-1] if member else file.name)
    if inner and form not in WORKBOOKS:  # nothing can be there
        return TablePlace(path, (), "", *find_format(path.name))
    return TablePlace(file, member, "/".join(inner), form, compression)


def find_format(name: str) -> tuple[str, str]:
    """Returns the format and the compression that a file's name says; both empty where the format is unknown."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes[-2:]] or [""]
    if suffixes[-1] in FORMATS:
        return suffixes[-1], ""
    if suffixes[-1] in COMPRESSIONS and suffixes[0] in LINES:
        return suffixes[0], suffixes[-1]
    return "", ""


def get_format(path: Path) -> str:
    """Returns the format of a table; empty where it is unknown."""
    return locate_table(path).format


def find_repeated(paths: Iterable[Path]) -> tuple[Path, Path] | None:
    """Returns the first table that an earlier path names too, and that path; `None` where each is named once.

    A workbook without a sheet counts as each of its sheets.
    """
    known: dict[tuple[Path, tuple[str, ...]], dict[str, Path]] = {}
    for path in paths:
        place = locate_table(path)
        sheets = known.setdefault((place.file.resolve(), place.member), {})
        for sheet, earlier in sheets.items():
            if sheet == place.sheet or not sheet or not place.sheet:
                return path, earlier
        sheets[place.sheet] = path
    return None
