"""What every tracker of experiments does beside what Lightning asks of a logger."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from lightning_med.utils.files import write_text

PROJECT = "lightning_med"  # where all runs are, so that they compare; each tracker has a variable that names another
_IDS = "trackers.json"  # in the run's folder
_defaults: dict[str, str] = {}  # variables that were set here, in this process


class Tracker(ABC):
    """A logger that `--logger` names.

    Attributes:
        kind: Its name on the command line.
        place: Where what it is given goes: a server or a folder.
        is_remote: Whether that leaves this machine, or may.
    """

    kind: ClassVar[str]
    place: str
    is_remote: bool

    def takes_samples(self, tracked: bool | None) -> bool:
        """Returns whether it is given sample answers.

        Args:
            tracked: The setting `samples.tracked`; `None` where they stay on this machine.
        """
        return not self.is_remote if tracked is None else tracked

    @abstractmethod
    def log_samples(self, samples: list[dict[str, str]], step: int) -> None:
        """Logs sample answers as a table.

        Args:
            samples: By column: question, reference, raw answer, guarded answer.
            step: As of the metrics.
        """


class TrackedRun:
    """A run as a tracker knows it: its name, and the tracker's own id of it, which a resumed run finds again.

    Args:
        folder: The run's folder, `ROOT/lightning_logs/NAME/version_N`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"{folder.parent.name}/{folder.name}"

    def find_id(self, kind: str, place: str) -> str | None:
        """Returns the id that this run has in a tracker at a place; `None` where it has none."""
        entry = self._read().get(kind)
        return entry.get("id") if isinstance(entry, dict) and entry.get("place") == place else None

    def keep_id(self, kind: str, place: str, identity: str) -> None:
        """Keeps a tracker's id of this run in the run's folder."""
        if self.find_id(kind, place) != identity:
            content = {**self._read(), kind: {"place": place, "id": identity}}
            write_text(self.folder / _IDS, json.dumps(content, indent=2) + "\n")

    def _read(self) -> dict[str, object]:
        try:
            content = json.loads((self.folder / _IDS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def set_defaults(**variables: str) -> None:
    """Sets environment variables of a library, where the user has not; those of an earlier run are replaced."""
    for name, value in variables.items():
        if os.environ.get(name) in (None, _defaults.get(name)):
            os.environ[name] = _defaults[name] = value
