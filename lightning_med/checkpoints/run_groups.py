"""Which runs compare: those whose figures are of the same rows, in the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lightning_med.checkpoints.run_facts import RunFacts


@dataclass
class Comparison:
    """Runs in groups.

    Perplexity compares within a group: the same validation rows, tokenizer and prompt. Bits per byte compare wherever
    the validation rows are the same.

    Attributes:
        groups: The runs of each group, in the order in which they were given. Each has a measured run at least.
        rows: By the digest of the validation rows, the groups that share them although tokenizer or prompt differ.
        unknown: Measured runs of an earlier release, which did not record their rows.
    """

    groups: list[list[RunFacts]] = field(default_factory=list)
    rows: dict[str, list[int]] = field(default_factory=dict)
    unknown: list[RunFacts] = field(default_factory=list)
    _places: dict[Path, int] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Sequence[RunFacts]) -> Comparison:
        """Groups runs; those without a validation are in no group."""
        found, keys = cls(), dict[tuple[str, str, str], int]()
        for run in runs:
            if run.perplexity is None:
                continue
            if run.record is None or not run.record.validation:
                found.unknown.append(run)
                continue
            key = (run.record.validation, run.record.tokenizer, run.record.prompt)
            if key not in keys:
                keys[key] = len(found.groups)
                found.groups.append([])
                found.rows.setdefault(key[0], []).append(keys[key])
            found.groups[keys[key]].append(run)
            found._places[run.path] = keys[key]
        found.rows = {rows: groups for rows, groups in found.rows.items() if len(groups) > 1}
        return found

    def find_group(self, run: RunFacts) -> int | None:
        """Returns the number of a run's group; `None` where it is in none."""
        return self._places.get(run.path)

    @cached_property
    def best(self) -> set[Path]:
        """The run with the lowest perplexity of each group that has two or more."""
        return {_find_best(group).path for group in self.groups if len(group) > 1}

    @cached_property
    def best_by_bytes(self) -> set[Path]:
        """The run with the fewest bits per byte among those on the same rows in different tokens."""
        best = set()
        for groups in self.rows.values():
            runs = [run for number in groups for run in self.groups[number] if _get_bits(run) is not None]
            if runs:
                best.add(min(runs, key=lambda run: _get_bits(run) or 0.0).path)
        return best


def _find_best(runs: Sequence[RunFacts]) -> RunFacts:
    return min(runs, key=lambda run: run.perplexity or 0.0)


def _get_bits(run: RunFacts) -> float | None:
    return run.validation.bits_per_byte if run.validation else None
