"""The parts of a key of prepared data, by name, and how those of a checkpoint differ from today's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from lightning_med.utils.errors import InputError

LIBRARY, CODE, UNICODE = "library ", "code that ", "Python's Unicode tables"  # beginnings of names of software
TRAINED = "train"  # instead of a tokenizer's digest: it is trained on the data itself
_DIGITS = 64  # of a digest
_ANYWAY = "or mix the two on purpose: --resume_anyway true"
Parts = dict[str, str]  # versions, short settings and digests, by name


@dataclass(frozen=True)
class KeyParts:
    """Everything that shapes prepared data, by name.

    Attributes:
        rows: What shapes clean rows.
        tokens: What shapes tokens beside these.
    """

    rows: Parts
    tokens: Parts

    @classmethod
    def from_dict(cls, parts: dict[str, Parts]) -> KeyParts:
        """Reads what `to_dict` returns."""
        return cls(dict(parts["rows"]), dict(parts["tokens"]))

    def to_dict(self) -> dict[str, Parts]:
        """Returns the parts as plain data, for a report or a checkpoint."""
        return {"rows": self.rows, "tokens": self.tokens}

    @property
    def rows_key(self) -> str:
        """The key of clean rows."""
        return _make_key(self.rows)

    @property
    def tokens_key(self) -> str:
        """The key of tokens, the fingerprint of a run's data."""
        return _make_key([self.rows_key, self.tokens])

    @property
    def is_of_trained_tokenizer(self) -> bool:
        """Whether the tokenizer was trained on the data itself."""
        return self.tokens.get("tokenizer") == TRAINED

    def compare(self, here: KeyParts) -> Differences:
        """Returns how today's parts differ from these."""
        pairs: dict[str, tuple[str, str]] = {}
        for there, now in ((self.rows, here.rows), (self.tokens, here.tokens)):
            pairs |= {name: (there.get(name, ""), now.get(name, "")) for name in [*there, *(now.keys() - there)]}
        return Differences({name: pair for name, pair in pairs.items() if pair[0] != pair[1]})


@dataclass(frozen=True)
class Differences:
    """How today's data differs from that of a checkpoint.

    Attributes:
        pairs: What a part is there and here, by its name; empty where a part is missing.
    """

    pairs: dict[str, tuple[str, str]]

    def __str__(self) -> str:
        texts = []
        for name, (there, here) in self.pairs.items():
            is_digest = max(len(there), len(here)) == _DIGITS
            texts.append(name if is_digest else f"{name} ({there or 'none'} there, {here or 'none'} here)")
        return ", ".join(texts)

    def refuse_other_run(self) -> None:
        """Refuses other sources or settings; another version of the software is not refused.

        Raises:
            InputError: They make it another run.
        """
        if not all(map(_is_software, self.pairs)):
            raise InputError(
                f"The checkpoint is of another run: its data differs in {self}.",
                f"Give what it began with, RUN/config.yaml; {_ANYWAY}",
            )

    def explain_missing(self, root: object) -> InputError:
        """Returns the error where a run's own data is gone and today's software would make another.

        Args:
            root: The folder of the cache.
        """
        libraries = [f"{name.removeprefix(LIBRARY)}=={was}" for name, (was, _) in self.pairs.items() if LIBRARY in name]
        again = "Install the versions that the run began with"
        if len(libraries) == len(self.pairs):
            again = f"pip install {' '.join(libraries)}"
        return InputError(
            f"The run's data was prepared otherwise, and is no longer in {root}: {self}.",
            f"{again}, or name the cache that has it: --data.cache_dir FOLDER; {_ANYWAY}",
        )


def _is_software(name: str) -> bool:
    return name.startswith((LIBRARY, CODE, UNICODE))


def _make_key(parts: Any) -> str:
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
