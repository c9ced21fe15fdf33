"""The report as Markdown."""

from __future__ import annotations

from typing import Any

from answering.report import Spread


def make_markdown(report: dict[str, Any]) -> str:
    """Returns the tables of `make_report`."""
    parts = [_make_speeds(report), _make_times(report), _make_ratios(report)]
    notes = [f"- {key}: skipped: {reason}" for key, reason in report["skipped"].items()]
    notes += _list_short(report)
    return "\n\n".join([*parts, "\n".join(notes)]).rstrip()


def _make_speeds(report: dict[str, Any]) -> str:
    heads = [f"{_count(count)}, tokens/s" for count in report["streams"]]
    heads += [f"{_count(count)}, × `generate` bfloat16" for count in report["streams"]]
    lines = [_row(["program", *heads]), _row(["---"] * (len(heads) + 1))]
    for program in report["programs"].values():
        speeds = [Spread(**column["speed"]).show() for column in program["columns"]]
        ratios = [f"{column['ratio']['middle']:.2f}" if column["ratio"] else "" for column in program["columns"]]
        lines.append(_row([program["name"], *speeds, *ratios]))
    return "\n".join(lines)


def _make_times(report: dict[str, Any]) -> str:
    heads = [f"first text, {_count(count)}, ms: median (most)" for count in report["streams"]]
    rest = ["between tokens, 1 stream, ms", "limit by memory, tokens/s", "share of it", "peak memory", "equal answers"]
    lines = [_row(["program", *heads, *rest]), _row(["---"] * (len(heads) + 6))]
    for program in report["programs"].values():
        firsts = [
            f"{column['first_median'] * 1e3:,.0f} ({column['first_max'] * 1e3:,.0f})" for column in program["columns"]
        ]
        gap = f"{program['gap'] * 1e3:,.1f}" if "gap" in program else ""
        share = f"{program['share_of_limit']:.0%}" if program.get("share_of_limit") else ""
        equal = f"{program['equal_answers']:.0%}" if "equal_answers" in program else ""
        peak = f"{program['peak'] / 2**20:,.0f} MiB"
        lines.append(_row([program["name"], *firsts, gap, f"{program['limit']:,.0f}", share, peak, equal]))
    bandwidth = f"Memory is read at {report['bandwidth'] / 1e9:.1f} GB/s; a token reads"
    return "\n".join([*lines, "", f"{bandwidth} {report['parameters_read'] / 1e6:,.1f} million weights."])


def _make_ratios(report: dict[str, Any]) -> str:
    lines = [_row(["ratio", "streams", "median", "goal", "reached"]), _row(["---"] * 5)]
    for ratio in report["ratios"]:
        middle, reached = Spread(**ratio["ratio"]).show(2), "yes" if ratio["reached"] else "no"
        lines.append(_row([ratio["name"], str(ratio["streams"]), middle, ratio["goal"], reached]))
    return "\n".join(lines)


def _list_short(report: dict[str, Any]) -> list[str]:
    """Returns a line for each program that wrote fewer tokens than it was to."""
    return [
        f"- {program['name']}, {_count(column['streams'])}: wrote {column['tokens']:,} of"
        f" {column['streams'] * report['tokens']:,} tokens; its speed counts those."
        for program in report["programs"].values()
        for column in program["columns"]
        if column["tokens"] < column["streams"] * report["tokens"]
    ]


def _count(streams: int) -> str:
    return f"{streams} stream{'s' if streams > 1 else ''}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
