"""The section of a model card that says how the export was evaluated."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from lightning_med.checkpoints.export_folder import SETTINGS
from lightning_med.evaluation.baselines.names import DISCLAIMER
from lightning_med.evaluation.report.markdown_report import MAIN_METRICS
from lightning_med.evaluation.report.markdown_text import describe_data, escape, format_metrics, format_pair
from lightning_med.evaluation.report.metric_table import build_tables
from lightning_med.evaluation.report.systems import LIMITS, Metrics, list_origin, list_systems
from lightning_med.evaluation.report.verdicts import EXPLANATION, list_pairs
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text

CARD = "README.md"
_BEGIN, _END = "<!-- evaluation by lightning-med: begin -->", "<!-- evaluation by lightning-med: end -->"
_SECTION = re.compile(rf"{re.escape(_BEGIN)}(?:(?!{re.escape(_BEGIN)}).)*?{re.escape(_END)}\n?", re.DOTALL)
_NEXT = "\n## Limits\n"  # of a card of ours; the section stands before it


def update_card(folder: Path, name: str, metrics: Metrics) -> None:
    """Writes the evaluation into the card of an export, in the place of an earlier one; the rest stays as it is.

    Args:
        folder: An export of ours.
        name: Of the model in `metrics`.
        metrics: As in `metrics.json`.

    Raises:
        InputError: The folder is no export of ours or has no card, or it cannot be written.
    """
    settings, card = folder / SETTINGS, folder / CARD
    if not settings.is_file() or not card.is_file():
        missing = card.name if settings.is_file() else settings.name
        raise InputError(
            f"{folder} has no {missing}, so its model card is not changed.",
            "Give an export of lightning-med export, or leave the card out.",
        )
    try:
        origin = json.loads(settings.read_text(encoding="utf-8"))
        text = card.read_text(encoding="utf-8")
        section = f"{_BEGIN}\n{render_section(name, metrics, origin)}{_END}\n"
        write_text(card, _replace_section(text, section))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{card} cannot be changed: {error}.", "Export the run again, or leave the card out."
        ) from error


def _replace_section(text: str, section: str) -> str:
    earlier = list(_SECTION.finditer(text))
    for match in reversed(earlier[1:]):  # of copies, one stays
        text = text[: match.start()] + text[match.end() :]
    if earlier:
        return text[: earlier[0].start()] + section + text[earlier[0].end() :]
    before, mark, after = text.rpartition(_NEXT)
    if mark:
        return f"{before}\n{section}{mark}{after}"
    return f"{text.rstrip()}\n\n{section}"


def render_section(name: str, metrics: Metrics, origin: dict[str, object] | None = None) -> str:
    """Renders the section.

    Args:
        name: Of the model.
        metrics: As in `metrics.json`.
        origin: The export's own settings, with its checkpoint and data; earlier exports do not say these.
    """
    systems = [system for system in list_systems(metrics) if system.name == name or system.tone == "b"]
    systems = [replace(system, title="This model") if system.name == name else system for system in systems]
    baselines = {system.title for system in systems if system.name != name}
    pairs = [pair for pair in list_pairs(metrics) if pair.a == name and pair.b in baselines]
    tables = [format_metrics(table, MAIN_METRICS) for table in build_tables(metrics, systems)]
    version = (metrics.get("versions") or {}).get("lightning_med")
    parts = [
        "## Evaluation",
        f"`lightning-med evaluate`{f' {escape(version)}' if version else ''}, on {describe_data(metrics)} "
        "Values with their 95% intervals over questions.",
        *tables,
        *(["\n".join(format_pair(replace(pair, a="This model")) for pair in pairs), EXPLANATION] if pairs else []),
        f"**{escape(metrics.get('disclaimer') or DISCLAIMER)}** {LIMITS[1]} {LIMITS[3]} {LIMITS[4]}",
        _describe_chain(name, metrics, origin or {}),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _describe_chain(name: str, metrics: Metrics, origin: dict[str, object]) -> str:
    """Returns the digests from the data to the export, as far as they are known."""
    known = {**origin, **{key: value for key, value in ((metrics.get("about") or {}).get(name) or {}).items() if value}}
    steps = [(title.lower(), value) for title, value in list_origin(known)]
    content = (metrics.get("data") or {}).get("content")
    steps += [("rows evaluated", str(content))] if content else []
    lines = [f"| {title} | `{re.sub('[`|<>]|[^ -~]', '?', value)}` |" for title, value in steps]
    return "\n".join(["| made from | fingerprint or SHA-256 |", "|---|---|", *lines]) if lines else ""
