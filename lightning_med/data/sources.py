"""Where consultations come from: files, folders, Kaggle, the Hub; as pandas frames, chunk by chunk."""

from __future__ import annotations

import difflib
import glob
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from lightning_med import hub
from lightning_med.data import kaggle
from lightning_med.data.cleaning import whole_characters
from lightning_med.errors import InputError

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
_NOT_TABLES = ("dataset_infos.json", "dataset-metadata.json")  # the Hub's and Kaggle's words about a data set
CHUNK = 20_000  # rows of text held at once


def resolve(source: str) -> list[Path]:
    """The table files that a source names, downloaded if need be, in a fixed order.

    Args:
        source: A file, a folder, a glob, `kaggle:OWNER/NAME`, `hub:OWNER/NAME` or `sample`.

    Raises:
        InputError: Nothing is there, it cannot be reached, or it holds no table.
    """
    if source == "sample":
        from lightning_med.data import sample

        return [sample.PATH]
    for scheme, download in (("kaggle:", kaggle.fetched), ("hub:", _from_hub)):
        if source.startswith(scheme):
            return _tables(download(source.removeprefix(scheme)), source)
    path = Path(source).expanduser()
    if path.is_dir():
        return _tables(path, source)
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{source} is not a table that can be read.", f"Known endings: {', '.join(SUFFIXES)}.")
        return [path]
    found = sorted(
        Path(p)
        for p in glob.glob(str(path), recursive=True)
        if Path(p).suffix.lower() in SUFFIXES and Path(p).is_file()
    )
    if not found:
        raise InputError(
            f"{source}: no such file or folder.",
            "--data.source takes a file, a folder, a glob, kaggle:OWNER/NAME, hub:OWNER/NAME or sample.",
        )
    return found


def read(files: list[Path], question_column: str, answer_column: str) -> Iterator[pd.DataFrame]:
    """The consultations of the files, in order.

    Yields:
        Frames of at most `CHUNK` rows with columns `question` and `answer` (text or null), `source` (the file's
        name) and `row` (0-based in that file).

    Raises:
        InputError: A file lacks a column, cannot be decoded or is malformed; the message names file and line.
    """
    if question_column == answer_column:
        raise InputError(
            f"question_column and answer_column are both {question_column!r}.",
            "Name two: --data.question_column NAME --data.answer_column NAME",
        )
    for path in files:
        row = 0
        for frame in _frames(path, [question_column, answer_column]):
            frame = frame[[question_column, answer_column]].set_axis(["question", "answer"], axis=1)
            yield frame.assign(source=path.name, row=range(row, row + len(frame)))
            row += len(frame)


def _frames(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    reader = {".csv": _csv, ".tsv": _csv, ".json": _json, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix.lower()]
    try:
        yield from reader(path, columns)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.object[error.start]:#04x} is not UTF-8 ({error.reason}).",
            f"Convert it first, for instance: iconv -f latin1 -t utf-8 {path.name} > utf8-{path.name}",
        ) from error
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path} is empty.", "A table needs a header and at least a few consultations.") from error
    except pd.errors.ParserError as error:
        reason = str(error).removeprefix("Error tokenizing data. C error: ")
        raise InputError(
            f"{path}: {reason}", "A cell with a comma, quote or line break must stand in quotes."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _csv(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    header = pd.read_csv(path, sep=separator, nrows=0, encoding="utf-8-sig", dtype=str)
    _check_columns(path, columns, list(header.columns))
    with pd.read_csv(
        path,
        sep=separator,
        dtype=str,
        keep_default_na=False,  # "NA" and "None" are words that a patient may type
        na_values=[""],
        encoding="utf-8-sig",
        chunksize=CHUNK,
    ) as frames:
        for frame in frames:
            if not isinstance(frame.index, pd.RangeIndex):  # pandas takes the first of too many cells for an index
                raise pd.errors.ParserError("the first row has more cells than the header")
            yield frame


def _parquet(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, columns, file.schema_arrow.names)
            for batch in file.iter_batches(CHUNK, columns=columns):
                yield _as_text(path, batch.to_pandas())
    except pa.ArrowException as error:
        raise InputError(f"{path} is not a whole Parquet file: {error}", "Fetch or write it again.") from error


def _json(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    try:
        records = json.loads(path.read_bytes().decode("utf-8-sig"))
    except RecursionError as error:
        raise InputError(f"{path} is nested too deep to be a table.") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {error.lineno}: {error.msg}.", "One object a line? Then name the file .jsonl."
        ) from error
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InputError(f"{path} is not a list of objects.", 'Expected: [{"input": "…", "output": "…"}, …]')
    for start in range(0, len(records), CHUNK):
        yield _from_records(path, columns, records[start : start + CHUNK])


def _jsonl(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    records = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError:
                raise
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{path}, line {number}: {getattr(error, 'msg', error)}.", "Each line must be one JSON object."
                ) from error
            if not isinstance(record, dict):
                raise InputError(
                    f"{path}, line {number}: not a JSON object.", 'Expected: {"input": "…", "output": "…"}'
                )
            records.append(record)
            if len(records) == CHUNK:
                yield _from_records(path, columns, records)
                records = []
    if records:
        yield _from_records(path, columns, records)


def _from_records(path: Path, columns: list[str], records: list[dict[str, object]]) -> pd.DataFrame:
    _check_columns(path, columns, list(dict.fromkeys(key for record in records for key in record)))
    return _as_text(
        path, pd.DataFrame([[_whole(record.get(name)) for name in columns] for record in records], columns=columns)
    )


def _whole(cell: object) -> object:
    return whole_characters(cell) if isinstance(cell, str) else cell


def _as_text(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Refuses cells that are neither text nor null, rather than guess how they read."""
    for name in frame.columns:
        cells = frame[name].astype(object)
        wrong = [not isinstance(cell, str) and not _is_null(cell) for cell in cells]
        if any(wrong):
            cell = cells[wrong].iloc[0]
            raise InputError(f"{path}: column {name!r} holds a {type(cell).__name__}, not text.", "Write it as text.")
    return frame


def _is_null(cell: object) -> bool:
    return cell is None or cell is pd.NA or (isinstance(cell, float) and cell != cell)


def _check_columns(path: Path, wanted: list[str], found: list[str]) -> None:
    for name, option in zip(wanted, ("question", "answer"), strict=True):
        if name in found:
            continue
        near = difflib.get_close_matches(name.lower(), [f.lower() for f in found], n=1)
        guess = next((f for f in found if near and f.lower() == near[0]), None)
        if len(found) == 1 and ";" in found[0]:
            raise InputError(f"{path}: its cells seem to be separated by ';'.", "Save it with commas, or as TSV.")
        listed = ", ".join(map(str, found[:12])) + (", …" if len(found) > 12 else "")
        raise InputError(
            f"{path} has no column {name!r}. It has: {listed or 'none'}.",
            f"Name yours: --data.{option}_column {guess if guess is not None else 'NAME'}",
        )


def _tables(folder: Path, source: str) -> list[Path]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.name not in _NOT_TABLES)
    found = sorted(p for p in files if p.suffix.lower() in SUFFIXES)
    if not found:
        raise InputError(f"{source} holds no table.", f"Known endings: {', '.join(SUFFIXES)}.")
    return found


def _from_hub(name: str) -> Path:
    return hub.fetched(name, "--data.source FOLDER", [f"*{ending}" for ending in SUFFIXES], repo_type="dataset")
