"""Rows of an evaluation whose questions the model was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightning_med.data.preparation.pipeline import Prepared
from lightning_med.data.preparation.token_store import TokenStore
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError


@dataclass(frozen=True)
class SeenRows:
    """What a run was trained on, as its checkpoint says.

    Attributes:
        keys: `[rows]`, uint64, of `TokenStore.question_keys`.
        fingerprint: Of that run's data.
    """

    keys: np.ndarray
    fingerprint: str

    def select_unseen(self, store: TokenStore, split: str, prepared: Prepared) -> np.ndarray:
        """Returns the rows that the model has not seen, by number, and says how many are left out.

        Args:
            store: The tokens of the split.
            split: Its name, for the message.
            prepared: Today's data.

        Raises:
            InputError: No row is left.
        """
        rows = np.arange(len(store))
        unseen = rows[~np.isin(store.question_keys, self.keys)]
        what = f"The data is not the run's ({prepared.fingerprint[:8]} here, {self.fingerprint[:8]} there)"
        count = f"{len(rows) - len(unseen):,} of {len(rows):,} {split} rows were trained on"
        if len(rows) and not len(unseen):
            raise InputError(f"{what}, and {count}: none is left.", "Name rows that the model has not seen.")
        names = _list_own_files(split, prepared)
        if names or len(rows) == prepared.report["rows_out"]:  # every row of these files is in this split
            rest = f"{len(rows) - len(unseen):,} were trained on and are left out" if len(rows) > len(unseen) else ""
            share = f"{len(unseen):,} of {len(rows):,}" if rest else f"all {len(rows):,}"
            where = _shorten(names or prepared.report["files"])
            say(f"{split}: {share} rows of {where} count{f'; {rest}' * bool(rest)}. {what}.")
        else:
            say(f"{what}: {count} and are left out.")
        return unseen


def _list_own_files(split: str, prepared: Prepared) -> list[str]:
    """The files that count for a split, where they are of own splits and none is split by the fractions."""
    own = {source["name"]: source["split"] for source in prepared.report["sources"]}
    return [] if None in own.values() else [name for name, one in own.items() if one == split]


def _shorten(names: list[str]) -> str:
    first, *others = names
    return f"{first} and {len(others):,} more" if others else str(first)
