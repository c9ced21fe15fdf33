"""The data report: what was read, dropped, mended and kept."""

from __future__ import annotations

import json
from pathlib import Path

from lightning_med.data.preparation import Prepared
from lightning_med.files import write_whole


def write_report(prepared: Prepared, folder: Path) -> None:
    """Writes `report.json` into a folder; it holds counts and settings, no text of any row."""
    content = {**prepared.report, "fingerprint": prepared.fingerprint}
    write_whole(folder / "report.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def print_report(prepared: Prepared) -> None:
    """Prints the same as two tables."""
    from rich.console import Console
    from rich.table import Table

    report, console = prepared.report, Console()
    rules = Table(title=f"{', '.join(report['files'])[:80]}: {report['rows_in']:,} rows read", title_justify="left")
    rules.add_column("rule")
    rules.add_column("rows", justify="right")
    for rule, count in report["rules"].items():
        rules.add_row(f"{'mended' if rule == 'whitespace' else 'dropped'}: {rule}", f"{count:,}")
    rules.add_row("kept", f"{report['rows_out']:,}")
    console.print(rules)
    splits = Table(title=f"{report['groups']:,} different questions", title_justify="left")
    splits.add_column("split")
    for name in ("rows", "share", "tokens", "question", "answer", "rows cut"):
        splits.add_column(name, justify="right")
    for split, rows in report["splits"].items():
        tokens = report["tokens"][split]
        share = f"{rows / report['rows_out']:.1%}"
        splits.add_row(split, f"{rows:,}", share, *(f"{tokens[k]:,}" for k in ("total", "question", "answer", "cut")))
    console.print(splits)
    console.print(f"{'found in the cache' if prepared.cached else 'prepared'}: {prepared.folder}", highlight=False)
