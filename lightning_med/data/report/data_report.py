"""The data report: what was read, dropped, repaired, masked and grouped, with the splits themselves for inspection."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lightning_med.data.cleaning.cleaner import mask_column
from lightning_med.data.preparation.pipeline import Prepared
from lightning_med.data.report.html_page import render_page
from lightning_med.data.report.labels import EFFECT_TITLES
from lightning_med.data.report.page_view import Report
from lightning_med.data.report.spreadsheet import format_csv
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.utils.files import write_atomically, write_text

if TYPE_CHECKING:
    from rich.table import Table

_SAMPLE_ROWS = 200
_BATCH = 20_000  # rows read at once
_MAX_TITLE = 80  # characters of file names in a table's title


def write_report(prepared: Prepared, folder: Path) -> None:
    """Writes the report into a folder, each file atomically.

    `report.json` and `report.html` hold figures, and a few examples and rows without private data; `train.parquet`,
    `validation.parquet` and `test.parquet` the cleaned consultations; `sample.csv` a random sample of them.
    """
    for split in SPLITS:
        with write_atomically(folder / f"{split}.parquet") as temporary:
            shutil.copyfile(prepared.folder / f"{split}.parquet", temporary)
    write_text(folder / "sample.csv", format_csv(_sample_rows(prepared)))
    report = {**prepared.report, "fingerprint": prepared.fingerprint}
    write_text(folder / "report.html", render_page(report))
    write_text(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def _sample_rows(prepared: Prepared) -> pd.DataFrame:
    """Samples exchanges of all splits; the same ones for the same data."""
    paths = {split: prepared.folder / f"{split}.parquet" for split in SPLITS}
    total = sum(pq.read_metadata(path).num_rows for path in paths.values())
    sampled = np.sort(np.random.default_rng(0).choice(total, min(_SAMPLE_ROWS, total), replace=False))
    parts, start = [], 0
    for split, path in paths.items():
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH):
                rows = sampled[(sampled >= start) & (sampled < start + len(batch))] - start
                parts.append(batch.take(pa.array(rows)).to_pandas().assign(split=split))
                start += len(batch)
    sample = pd.concat(parts, ignore_index=True)
    for column in ("question", "answer"):  # the file may be shared: masked whatever the setting
        sample[column] = mask_column(sample[column], answer=column == "answer")[0]
    return sample


def print_report(prepared: Prepared) -> None:
    """Prints the main figures as tables."""
    from rich.console import Console

    console = Console()
    console.print(_tabulate_rules(prepared.report))
    console.print(_tabulate_splits(prepared.report))
    print(f"{'found in the cache' if prepared.cached else 'prepared'}: {prepared.folder}")


def _tabulate_rules(report: Report) -> Table:
    from rich.table import Table

    title = ", ".join(report["files"])
    if len(title) > _MAX_TITLE:
        title = f"{title[: _MAX_TITLE // 2]} … ({len(report['files'])} files)"
    table = Table(title=f"{title}: {report['rows_in']:,} rows read", title_justify="left")
    table.add_column("rule")
    table.add_column("rows", justify="right")
    for rule, count in report["rules"].items():
        table.add_row(f"{EFFECT_TITLES[report['effects'][rule]].lower()}: {rule}", f"{count:,}")
    if report["bad_rows"]:
        table.add_row("dropped: unreadable", f"{report['bad_rows']:,}")
    table.add_row("kept", f"{report['rows_out']:,}", end_section=True)
    for kind, count in report["private"].items():
        table.add_row(f"replaced: {kind}", f"{count:,}")
    return table


def _tabulate_splits(report: Report) -> Table:
    from rich.table import Table

    title = f"{report['groups']:,} groups; {report['leaks_joined']:,} rows joined to the group of an earlier row"
    table = Table(title=title, title_justify="left")
    table.add_column("split")
    for name in ("rows", "share", "tokens", "question", "answer", "rows cut"):
        table.add_column(name, justify="right")
    for split, rows in report["splits"].items():
        tokens = report["tokens"][split]
        share = f"{rows / report['rows_out']:.1%}"
        table.add_row(split, f"{rows:,}", share, *(f"{tokens[k]:,}" for k in ("total", "question", "answer", "cut")))
    return table
