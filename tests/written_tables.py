"""Tables in every format, written for tests; no library that is installed writes workbooks."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa
import pyarrow.parquet as pq

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".xlsx", ".csv.gz", ".jsonl.xz", ".json.bz2")
Rows = Sequence[Sequence[Any]]
_PACKERS: dict[str, Any] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
_OOXML = "http://schemas.openxmlformats.org"
_ODF = "urn:oasis:names:tc:opendocument:xmlns"


def write_records(path: Path, rows: Rows, names: Sequence[str] = ("input", "output")) -> Path:
    """Writes rows in the format of the path's suffixes."""
    records = [dict(zip(names, row, strict=True)) for row in rows]
    match path.suffix.lower():
        case ".gz" | ".bz2" | ".xz" as packed:
            plain = write_records(path.with_suffix(""), rows, names)
            path.write_bytes(_PACKERS[packed](plain.read_bytes()))
            plain.unlink()
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(records), path)
        case ".json":
            path.write_bytes(_dump(records))
        case ".jsonl":
            path.write_bytes(b"".join(_dump(record) + b"\n" for record in records))
        case ".xlsx" | ".ods":
            write_workbook(path, {"Sheet1": [names, *rows]})
        case suffix:
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",").writerows([names, *rows])
    return path


def _dump(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a character
        return json.dumps(value).encode()


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    """Writes a zip archive of files by their names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_workbook(path: Path, sheets: dict[str, Rows], hidden: Sequence[str] = ()) -> Path:
    """Writes the least that is an .xlsx or .ods workbook: text, numbers, truth values, `None`, `#DIV/0!`."""
    parts = _make_ods(sheets) if path.suffix == ".ods" else _make_xlsx(sheets, hidden)
    return write_archive(path, {name: part.encode() for name, part in parts.items()})


def _make_xlsx(sheets: dict[str, Rows], hidden: Sequence[str]) -> dict[str, str]:
    main = f"{_OOXML}/spreadsheetml/2006/main"
    links = f"{_OOXML}/officeDocument/2006/relationships"
    numbered = list(enumerate(sheets.items(), 1))
    states = {name: 'state="hidden"' if name in hidden else "" for name in sheets}
    entries = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{number}" r:id="r{number}" {states[name]}/>'
        for number, (name, _) in numbered
    )
    return {
        "_rels/.rels": _link({"r1": ("officeDocument", "xl/workbook.xml")}),
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{links}"><sheets>{entries}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _link(
            {f"r{number}": ("worksheet", f"worksheets/{number}.xml") for number, _ in numbered}
            | {"styles": ("styles", "styles.xml")}
        ),
        "xl/styles.xml": f'<styleSheet xmlns="{main}"><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>',
        **{
            f"xl/worksheets/{number}.xml": f'<worksheet xmlns="{main}"><sheetData>'
            + "".join(_write_row(line, row) for line, row in enumerate(rows, 1))
            + "</sheetData></worksheet>"
            for number, (_, rows) in numbered
        },
    }


def _link(targets: dict[str, tuple[str, str]]) -> str:
    base = f"{_OOXML}/officeDocument/2006/relationships"
    entries = "".join(
        f'<Relationship Id="{name}" Type="{base}/{kind}" Target="{target}"/>'
        for name, (kind, target) in targets.items()
    )
    return f'<Relationships xmlns="{_OOXML}/package/2006/relationships">{entries}</Relationships>'


def _write_row(line: int, row: Sequence[Any]) -> str:
    return f'<row r="{line}">{"".join(_write_cell(f"{chr(65 + n)}{line}", cell) for n, cell in enumerate(row))}</row>'


def _write_cell(place: str, cell: Any) -> str:
    if cell is None or cell == "":
        return ""
    if isinstance(cell, bool):
        return f'<c r="{place}" t="b"><v>{int(cell)}</v></c>'
    if isinstance(cell, (int, float)):
        return f'<c r="{place}"><v>{cell!r}</v></c>'
    if isinstance(cell, Day):
        return f'<c r="{place}" s="1"><v>{cell.serial!r}</v></c>'
    if cell == "#DIV/0!":
        return f'<c r="{place}" t="e"><v>{cell}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>'


class Day:
    """A cell that shows a date.

    Args:
        serial: Days since 1899-12-30.
    """

    def __init__(self, serial: float) -> None:
        self.serial = serial


def _make_ods(sheets: dict[str, Rows]) -> dict[str, str]:
    names = "".join(f' xmlns:{name}="{_ODF}:{name}:1.0"' for name in ("office", "table", "text"))
    tables = "".join(
        f"<table:table table:name={quoteattr(name)}>{''.join(map(_write_ods_row, rows))}</table:table>"
        for name, rows in sheets.items()
    )
    body = f"<office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body>"
    manifest = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    return {
        "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
        "content.xml": f"<office:document-content{names}>{body}</office:document-content>",
        "META-INF/manifest.xml": manifest,
    }


def _write_ods_row(row: Sequence[Any]) -> str:
    cells = "".join(
        "<table:table-cell/>"
        if cell is None
        else f'<table:table-cell office:value-type="string">{_write_paragraphs(cell)}</table:table-cell>'
        for cell in row
    )
    return f"<table:table-row>{cells}</table:table-row>"


def _write_paragraphs(text: str) -> str:
    return "".join(f"<text:p>{escape(line)}</text:p>" for line in text.split("\n"))
