"""Runs as a table on a terminal, as aligned lines in a pipe, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from lightning_med.checkpoints.checkpoint_files import find_best_checkpoint
from lightning_med.checkpoints.run_facts import RunFacts, Status
from lightning_med.checkpoints.run_groups import Comparison
from lightning_med.checkpoints.run_metrics import pick_number

if TYPE_CHECKING:
    from rich.table import Table

_BEST, _ELSEWHERE, _NONE = "*", "+", "-"
_STYLES = {Status.RUNNING: "green", Status.BROKEN: "red", Status.INTERRUPTED: "yellow", Status.OUT_OF_TIME: "yellow"}


def describe_run(run: RunFacts, comparison: Comparison) -> dict[str, Any]:
    """Returns everything that is known of a run, for JSON."""
    test, record, best = run.test or {}, run.record, run.validation
    checkpoint = find_best_checkpoint(run.path)
    return {
        "run": run.name,
        "path": str(run.path),
        "status": str(run.status),
        "problem": run.problem or None,
        "group": _name_group(run, comparison) or None,
        "best": run.path in comparison.best,
        "data": run.data,
        "base": run.base,
        "adapter": run.has_adapter,
        "steps_done": run.steps_done,
        "steps_planned": run.steps_planned,
        "best_step": best.step if best else None,
        "val/perplexity": best.perplexity if best else None,
        "val/bits_per_byte": best.bits_per_byte if best else None,
        "test/perplexity": run.test_perplexity,
        "test/bits_per_byte": pick_number(test, "test/bits_per_byte"),
        "test_is_elsewhere": run.is_tested_elsewhere,
        "changed": run.changed.isoformat(timespec="seconds") if run.changed else None,
        "checkpoint": str(checkpoint) if checkpoint else None,
        "exports": [str(path) for path in run.exports],
        "data_fingerprint": record.data if record else None,
        "validation_rows": record.validation if record else None,
        "test_rows": record.test if record else None,
        "tokenizer": record.tokenizer if record else None,
        "prompt": record.prompt if record else None,
        "end": record.end or None if record else None,
    }


def make_table(runs: Sequence[RunFacts], comparison: Comparison) -> Table:
    """Returns a table that fits 80 columns, with two lines for each run."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), collapse_padding=True)
    shows_groups, shows_bits = len(comparison.groups) > 1, bool(comparison.rows)
    left: dict[str, Any] = {"overflow": "ellipsis"}  # what may be cut where the terminal is narrow
    right: dict[str, Any] = {"justify": "right", "no_wrap": True}
    if shows_groups:
        table.add_column("", no_wrap=True)
    table.add_column("run", **left)
    table.add_column("data\nbase", **left)
    for title in ("steps", "valid.", *(["bits/b"] if shows_bits else []), "test"):
        table.add_column(title, **right)
    table.add_column("status", no_wrap=True)
    table.add_column("when", **right)
    for run in runs:
        status = Text(str(run.status), _STYLES.get(run.status, ""))
        if run.exports:
            status.append("\nexported", "dim")
        cells = [
            Text(f"{run.path.parent.name}\n{run.path.name}"),
            Text(f"{run.data or _NONE}\n{_format_base(run) or _NONE}"),
            Text("\n/".join(_format_steps(run).split("/"))),
            Text(_format_perplexity(run, comparison), "bold" if run.path in comparison.best else ""),
            *([Text(_format_bits(run, comparison))] if shows_bits else []),
            Text(_format_test(run)),
            status,
            Text(_format_short_time(run.changed)),
        ]
        table.add_row(*([Text(_name_group(run, comparison))] if shows_groups else []), *cells)
    return table


def format_lines(runs: Sequence[RunFacts], comparison: Comparison) -> list[str]:
    """Returns one line for each run, and one of titles, in aligned columns."""
    titles = ["run", "group", "data", "base", "steps", "valid.", "bits/b", "test", "status", "when", "export"]
    rows = [titles]
    for run in runs:
        cells = [
            run.name,
            _name_group(run, comparison),
            run.data,
            _format_base(run),
            _format_steps(run),
            _format_perplexity(run, comparison),
            _format_bits(run, comparison),
            _format_test(run),
            str(run.status),
            f"{run.changed:%Y-%m-%d %H:%M}" if run.changed else "",
            run.exports[0].name if run.exports else "",
        ]
        rows.append([cell or _NONE for cell in cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def explain(runs: Sequence[RunFacts], comparison: Comparison) -> list[str]:
    """Returns the lines below a table: what its columns and marks mean, as far as they occur."""
    lines = []
    if any(run.perplexity is not None for run in runs):
        lines.append(f"valid., test: perplexity; bits/b: bits per byte; {_BEST}: the best of those that compare.")
    if len(comparison.groups) > 1:
        names = ", ".join(map(_name_number, range(len(comparison.groups))))
        lines.append(
            f"{len(comparison.groups)} groups ({names}): perplexity compares only within one, between the same"
            " validation rows, tokenizer and prompt."
        )
    for groups in comparison.rows.values():
        names = ", ".join(map(_name_number, groups))
        lines.append(f"{names} have the same validation rows in other tokens: compare their bits per byte.")
    if comparison.unknown:
        lines.append(f"Not compared: {len(comparison.unknown)} of an earlier release, which did not record its rows.")
    if any(run.is_tested_elsewhere for run in runs):
        lines.append(f"{_ELSEWHERE}: tested on other rows than the run's own test split.")
    lines += [f"{run.name}: {run.problem}." for run in runs if run.problem]
    return lines


def _name_group(run: RunFacts, comparison: Comparison) -> str:
    number = comparison.find_group(run)
    return "" if number is None else _name_number(number)


def _name_number(number: int) -> str:
    """Returns A to Z, then A1 and so on."""
    more, letter = divmod(number, len(ascii_uppercase))
    return f"{ascii_uppercase[letter]}{more or ''}"


def _format_base(run: RunFacts) -> str:
    return f"{run.base} + LoRA" if run.has_adapter else run.base


def _format_steps(run: RunFacts) -> str:
    if not run.steps_planned:
        return str(run.steps_done) if run.steps_done else ""
    return f"{run.steps_done}/{run.steps_planned}"


def _format_perplexity(run: RunFacts, comparison: Comparison) -> str:
    return _format_number(run.perplexity) + _BEST * (run.path in comparison.best)


def _format_bits(run: RunFacts, comparison: Comparison) -> str:
    bits = run.validation.bits_per_byte if run.validation else None
    return "" if bits is None else f"{bits:.3f}" + _BEST * (run.path in comparison.best_by_bytes)


def _format_test(run: RunFacts) -> str:
    return _format_number(run.test_perplexity) + _ELSEWHERE * run.is_tested_elsewhere


def _format_number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value < 100 else f"{value:.1f}" if value < 10_000 else f"{value:.0e}"


def _format_short_time(time: datetime | None) -> str:
    """Returns the hour of a time today, else the day, else the month, in at most eight characters."""
    if time is None:
        return ""
    now = datetime.now().astimezone()
    if time.date() == now.date():
        return f"{time:%H:%M}"
    return f"{time.day} {time:%b}" if time.year == now.year else f"{time:%b %Y}"
