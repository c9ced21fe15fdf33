"""Rules that drop or mend a row, each a small function with its own count."""

from __future__ import annotations

import re
from collections import Counter
from hashlib import blake2b

import pandas as pd

COLUMNS = ["question", "answer"]
_HALVES = re.compile("[\ud800-\udfff]")


def whole_characters(text: str) -> str:
    """Half of a surrogate pair, which UTF-8 cannot hold, becomes the replacement character."""
    return _HALVES.sub("\ufffd", text)


def mend_whitespace(text: str) -> str:
    """One space between words, one line break between lines, none at the ends.

    Applied to questions at training and at answering alike. It leaves no empty line inside a text, so the empty line
    between two turns of a consultation is unambiguous.
    """
    lines = (" ".join(line.split()) for line in whole_characters(text).splitlines())
    return "\n".join(line for line in lines if line)


class Cleaner:
    """Cleans frames one after another and remembers, over all of them, what it did.

    Attributes:
        counts: Rows dropped (`missing`, `blank`, `duplicate`) or mended (`whitespace`), by rule.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter(dict.fromkeys(("missing", "blank", "duplicate", "whitespace"), 0))
        self._seen: set[bytes] = set()  # 16 bytes a row, not its text

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Drops and mends the rows of a frame with columns `question` and `answer`; other columns stay as they are."""
        frame = self._drop(frame, frame[COLUMNS].isna().any(axis=1), "missing")
        frame = self._whitespace(frame)
        frame = self._drop(frame, (frame[COLUMNS] == "").any(axis=1), "blank")
        return self._drop(frame, self._duplicated(frame), "duplicate")

    def _drop(self, frame: pd.DataFrame, condemned: pd.Series, rule: str) -> pd.DataFrame:
        self.counts[rule] += int(condemned.sum())
        return frame[~condemned]

    def _whitespace(self, frame: pd.DataFrame) -> pd.DataFrame:
        mended = frame.assign(**{name: [mend_whitespace(text) for text in frame[name]] for name in COLUMNS})
        self.counts["whitespace"] += int((mended[COLUMNS] != frame[COLUMNS]).any(axis=1).sum())
        return mended

    def _duplicated(self, frame: pd.DataFrame) -> pd.Series:
        repeated = []
        for question, answer in zip(frame["question"], frame["answer"], strict=True):
            text = f"{len(question)}:{question}{answer}"
            digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            repeated.append(digest in self._seen)
            self._seen.add(digest)
        return pd.Series(repeated, index=frame.index, dtype=bool)
