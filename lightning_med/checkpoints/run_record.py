"""What a run records about itself beside its settings: what it is measured on, how long it is to be, how it ended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from lightning_med.utils.files import write_text

RECORD = "run.json"  # in the run's folder
OUT_OF_TIME = "time"  # not a real end: the run can be resumed


@dataclass(frozen=True)
class RunRecord:
    """The content of `run.json`.

    Attributes:
        data: The fingerprint of the prepared data.
        validation: A digest of the rows that a validation measures, the same for every tokenizer unless a limit of
            batches makes it measure others; empty without any.
        test: The same of the test split.
        tokenizer: A digest of the tokenizer.
        prompt: A digest of the text around questions and answers.
        steps: Optimizer steps that the run is to have; `None` where nothing bounds them.
        began: When the last command that trained began, in ISO 8601.
        end: Why it ended: `steps`, `epochs`, `early stopping`, `time`; empty while it runs, and after a signal or a
            crash.
        ended: When, in ISO 8601.
    """

    data: str
    validation: str
    test: str
    tokenizer: str
    prompt: str
    steps: int | None
    began: str
    end: str = ""
    ended: str = ""

    def write(self, run: Path) -> None:
        """Writes the record into a run's folder, atomically."""
        write_text(run / RECORD, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, run: Path) -> RunRecord | None:
        """Reads the record of a run; `None` for a run of an earlier release, which wrote none.

        Raises:
            ValueError: It is not what `write` writes.
        """
        try:
            content = json.loads((run / RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ValueError(f"{RECORD}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:  # UnicodeDecodeError is one
            raise ValueError(f"{RECORD} is not JSON") from error
        names = [field.name for field in fields(cls)]
        if not isinstance(content, dict) or not set(names[:-2]) <= content.keys():
            raise ValueError(f"{RECORD} lacks a field")
        values = {name: content[name] for name in names if name in content}
        steps = values.pop("steps")
        if not (steps is None or type(steps) is int) or not all(isinstance(one, str) for one in values.values()):
            raise ValueError(f"{RECORD} has a value of another kind")
        return cls(steps=steps, **values)
