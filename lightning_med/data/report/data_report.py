"""The data report: what was read, dropped, mended, replaced, joined and kept; and the splits, for anyone to audit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lightning_med.data.cleaning.cleaner import mask_column
from lightning_med.data.preparation.pipeline import Prepared
from lightning_med.data.report.html_page import render_page
from lightning_med.data.report.spreadsheet import write_csv
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.utils.files import write_atomically, write_text

_SAMPLE = 200  # rows for people with a spreadsheet
_SHOWN = 40  # characters of a file's name in a table's title


def write_report(prepared: Prepared, folder: Path) -> None:
    """Writes the report into a folder, each file whole or not at all.

    `report.json` and `report.html` hold figures, and a few examples and rows without private data; `train.parquet`,
    `validation.parquet` and `test.parquet` the cleaned consultations; `sample.csv` some of them, drawn at random.
    """
    for split in SPLITS:
        with write_atomically(folder / f"{split}.parquet") as temporary:
            shutil.copyfile(prepared.folder / f"{split}.parquet", temporary)
    write_text(folder / "sample.csv", write_csv(_format_row(prepared)))
    content = {**prepared.report, "fingerprint": prepared.fingerprint}
    write_text(folder / "report.html", render_page(content))
    write_text(folder / "report.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _format_row(prepared: Prepared) -> pd.DataFrame:
    """Some exchanges of all splits; the same ones for the same data."""
    total = sum(pq.read_metadata(prepared.folder / f"{split}.parquet").num_rows for split in SPLITS)
    drawn = np.sort(np.random.default_rng(0).choice(total, min(_SAMPLE, total), replace=False))
    parts, first = [], 0
    for split in SPLITS:
        with pq.ParquetFile(prepared.folder / f"{split}.parquet") as file:
            for batch in file.iter_batches(20_000):
                rows = drawn[(drawn >= first) & (drawn < first + len(batch))] - first
                parts.append(batch.take(pa.array(rows)).to_pandas().assign(split=split))
                first += len(batch)
    sample = pd.concat(parts, ignore_index=True)
    for column in ("question", "answer"):  # a file that is passed around: without private data, whatever the setting
        sample[column] = mask_column(sample[column], answer=column == "answer")[0]
    return sample


def print_report(prepared: Prepared) -> None:
    """Prints the main figures as tables."""
    from rich.console import Console
    from rich.table import Table

    report, console = prepared.report, Console()
    names = ", ".join(report["files"])
    title = names if len(names) <= 2 * _SHOWN else f"{names[:_SHOWN]} … ({len(report['files'])} files)"
    rules = Table(title=f"{title}: {report['rows_in']:,} rows read", title_justify="left")
    rules.add_column("rule")
    rules.add_column("rows", justify="right")
    for rule, count in report["rules"].items():
        rules.add_row(f"{report['effects'][rule]}: {rule}", f"{count:,}")
    if report["bad_rows"]:
        rules.add_row("dropped: unreadable", f"{report['bad_rows']:,}")
    rules.add_row("kept", f"{report['rows_out']:,}", end_section=True)
    for kind, count in report["private"].items():
        rules.add_row(f"replaced: {kind}", f"{count:,}")
    console.print(rules)
    found = f"{report['groups']:,} groups; {report['leaks_joined']:,} rows joined to another's"
    splits = Table(title=found, title_justify="left")
    splits.add_column("split")
    for name in ("rows", "share", "tokens", "question", "answer", "rows cut"):
        splits.add_column(name, justify="right")
    for split, rows in report["splits"].items():
        tokens = report["tokens"][split]
        share = f"{rows / report['rows_out']:.1%}"
        splits.add_row(split, f"{rows:,}", share, *(f"{tokens[k]:,}" for k in ("total", "question", "answer", "cut")))
    console.print(splits)
    print(f"{'found in the cache' if prepared.cached else 'prepared'}: {prepared.folder}")
