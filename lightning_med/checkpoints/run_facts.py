"""The facts of a run, read from its folder: what it trains on what, how far it is, how good, and how it ended."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from lightning_med.checkpoints.checkpoint_files import CHECKPOINTS, LAST, list_step_checkpoints
from lightning_med.checkpoints.export_folder import list_exports
from lightning_med.checkpoints.run_folder import LOCK, SETTINGS, is_being_trained
from lightning_med.checkpoints.run_metrics import METRICS, Validation, pick_number, read_metrics, read_results
from lightning_med.checkpoints.run_record import OUT_OF_TIME, RECORD, RunRecord

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of libyaml, ten times as fast


class Status(StrEnum):
    """How far a run is."""

    RUNNING = "running"  # a process holds its lock
    FINISHED = "finished"  # it has done all its steps or epochs, or was stopped early
    OUT_OF_TIME = "out of time"  # `max_time` ended it
    INTERRUPTED = "interrupted"  # a signal, a crash or an error ended it
    UNKNOWN = "unknown"  # no end is recorded, and the file system has no locks that say whether it runs
    ENDED = "ended"  # nobody trains it; an earlier release did not record why
    EMPTY = "empty"  # it never started
    BROKEN = "broken"  # its files cannot be read


@dataclass(frozen=True)
class RunFacts:
    """The facts of a run.

    Attributes:
        status: How far it is.
        problem: Of a broken run: what cannot be read.
        data, base: What it is trained on, and from, in a word or two.
        has_adapter: Whether an adapter is trained.
        steps_done: Optimizer steps that are logged or saved.
        steps_planned: Those it is to have; `None` where that is not known or nothing bounds them.
        validation: Its best validation.
        test: The content of `test.json`.
        changed: When something was last logged or saved.
        exports: The folders of its exports, the newest first.
        record: What it recorded; `None` for a run of an earlier release.
    """

    path: Path
    status: Status
    problem: str = ""
    data: str = ""
    base: str = ""
    has_adapter: bool = False
    steps_done: int = 0
    steps_planned: int | None = None
    validation: Validation | None = None
    test: dict[str, Any] | None = None
    changed: datetime | None = None
    exports: tuple[Path, ...] = ()
    record: RunRecord | None = None

    @property
    def name(self) -> str:
        """`NAME/version_N`."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def perplexity(self) -> float | None:
        """The best validation's."""
        return self.validation.perplexity if self.validation else None

    @property
    def test_perplexity(self) -> float | None:
        """That of `test.json`."""
        return pick_number(self.test or {}, "test/perplexity")

    @property
    def is_tested_elsewhere(self) -> bool:
        """Whether `test.json` is known to be of other rows than the run's own test split."""
        rows = (self.test or {}).get("rows")
        return self.record is not None and rows is not None and rows != self.record.test


def read_facts(run: Path) -> RunFacts:
    """Reads the facts of a run. Whatever its folder holds, there is an answer."""
    is_running = is_being_trained(run)
    changed = _find_last_change(run)
    try:
        settings = _read_settings(run)
        record = RunRecord.read(run)
    except FileNotFoundError:
        problem = _explain_absence(run)
        status = Status.RUNNING if is_running else Status.BROKEN if problem else Status.EMPTY
        return RunFacts(run, status, problem, changed=changed)
    except (ValueError, OSError) as error:
        return RunFacts(run, Status.RUNNING if is_running else Status.BROKEN, str(error), changed=changed)
    logged, validation = read_metrics(run)
    saved = [int(path.stem.removeprefix("step-")) for path in list_step_checkpoints(run / CHECKPOINTS)]
    most = _get(settings, "trainer").get("max_steps")
    model = _get(settings, "model")
    return RunFacts(
        path=run,
        status=Status.RUNNING if is_running else _judge_end(record, is_running),
        data=_name_data(_get(settings, "data").get("source")),
        base=_name_base(model),
        has_adapter=bool(model.get("lora")),
        steps_done=max([logged, *saved]),
        steps_planned=record.steps if record else most if type(most) is int and most > 0 else None,
        validation=validation,
        test=read_results(run / "test.json") or None,
        changed=changed,
        exports=tuple(list_exports([run])),
        record=record,
    )


def _read_settings(run: Path) -> dict[str, Any]:
    try:
        settings = yaml.load((run / SETTINGS).read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{SETTINGS} is not YAML") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{SETTINGS} has no settings")
    return settings


def _explain_absence(run: Path) -> str:
    """Returns what is wrong with a folder without settings; empty where nothing is in it."""
    try:
        left = {path.name for path in run.iterdir()} - {LOCK}
    except FileNotFoundError:  # it has been removed
        return ""
    except OSError as error:
        return f"its folder cannot be read: {error.strerror}"
    return f"{SETTINGS} is missing" if left else ""


def _get(settings: dict[str, Any], section: str) -> dict[str, Any]:
    value = settings.get(section)
    return value if isinstance(value, dict) else {}


def _judge_end(record: RunRecord | None, is_running: bool | None) -> Status:
    if is_running is None and not (record and record.end):
        return Status.UNKNOWN
    if record is None:
        return Status.ENDED
    if record.end == OUT_OF_TIME:
        return Status.OUT_OF_TIME
    return Status.FINISHED if record.end else Status.INTERRUPTED


def _find_last_change(run: Path) -> datetime | None:
    files = [run / name for name in (METRICS, RECORD, SETTINGS, f"{CHECKPOINTS}/{LAST}")]
    last = max(map(_get_time, files)) or _get_time(run)
    return datetime.fromtimestamp(last).astimezone() if last else None


def _get_time(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _name_data(source: Any) -> str:
    """Returns a setting `data.source` in a word: the last part of its first place, and how many more there are."""
    entries = source if isinstance(source, list) else [source]
    first = entries[0].get("path") if entries and isinstance(entries[0], dict) else entries[0] if entries else ""
    name = _name_place(first)
    return f"{name} +{len(entries) - 1}" if len(entries) > 1 else name


def _name_base(model: dict[str, Any]) -> str:
    fields = model.get("from_scratch")
    if fields:
        kind = fields.get("model_type", "gpt2") if isinstance(fields, dict) else ""
        return f"new {kind}".rstrip()
    return _name_place(model.get("base"))


def _name_place(place: Any) -> str:
    text = str(place or "").rstrip("/\\")
    return text.replace("\\", "/").rpartition("/")[2] or text
