"""A sentence encoder with one score for each class: it reads a message as a whole and raises what the rules missed.

all-MiniLM-L6-v2 (Apache-2.0; Wang et al., 2020; Reimers and Gurevych, 2019), tuned on real letters and on written
messages by `scripts/train_triage.py`; int8 weights, run by ONNX Runtime on one core, without torch. Its classes are
ordinary, urgent and the rules' categories.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_med.safety.messages.encoder.calibration import compute_probabilities
from lightning_med.safety.messages.encoder.evidence import find_reason
from lightning_med.safety.messages.normalization import normalize

if TYPE_CHECKING:
    import numpy as np
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

PATH = Path(__file__).with_name("classifier.onnx")
TOKENIZER_PATH = Path(__file__).with_name("classifier_tokenizer.json")
WINDOW = 384  # tokens that are read at once, with the two that begin and end a text
_OVERLAP = 64  # tokens that two windows share
_MAX_WINDOWS = 8  # of a longer message its first and its last four are read
_MAX_HALF = 20_000  # characters: words of English fill four windows with far fewer
_BLANKS = re.compile(r"[^\S\n]{2,}")
METADATA = "triage"  # the key of the file's own metadata


@dataclass(frozen=True)
class Reading:
    """What the classifier makes of a message.

    Attributes:
        text: The message, normalized.
        probabilities: Of each class. Of several windows the highest counts, and "ordinary" is what is left.
        spans: `[tokens, 2]`, of each token's characters in `text`, in order.
        contributions: `[tokens, classes]`: what each token adds to the classes' scores, relative to "ordinary".
    """

    text: str
    probabilities: dict[str, float]
    spans: np.ndarray
    contributions: np.ndarray

    def find_evidence(self, name: str) -> tuple[str, ...]:
        """Returns the words that a person would give as the reason for a class, maybe none; see `find_reason`."""
        column = list(self.probabilities).index(name)
        reason = find_reason(self.text, self.spans, self.contributions[:, column])
        return (reason,) if reason else ()


class EncoderClassifier:
    """The tuned encoder.

    Args:
        session: Maps `ids` `[1, tokens]` to `scores` `[1, tokens, classes]`; a message's score is their mean.
        tokenizer: Of the encoder.
        levels: Of the classes, by name; the first is "ordinary".
        scale, shifts: See `compute_probabilities`.
    """

    def __init__(
        self,
        session: InferenceSession,
        tokenizer: Tokenizer,
        levels: dict[str, str],
        scale: float = 1.0,
        shifts: dict[str, float] | None = None,
    ) -> None:
        self._session, self._tokenizer = session, tokenizer
        self.names, self._levels = list(levels), list(levels.values())
        self._scale, self._shifts = scale, shifts or {}
        self._begin, self._end = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))

    def read(self, text: str) -> Reading:
        """Reads a message; an empty one is ordinary."""
        import numpy as np

        text = cut_text(_BLANKS.sub(" ", normalize(text)))
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        spans = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        contributions = np.zeros((len(spans), len(self.names)), dtype=np.float32)
        highest = np.zeros(len(self.names))
        for window in plan_windows(len(spans)) if len(spans) else ():
            ids = [self._begin, *encoding.ids[window.start : window.stop], self._end]
            (scores,) = self._session.run(None, {"ids": np.array([ids], dtype=np.int64)})
            scores = scores[0]
            mean = scores.mean(0, dtype=np.float64, keepdims=True)
            highest = np.maximum(highest, compute_probabilities(mean, self._levels, self._scale, self._shifts)[0])
            contributions[window.start : window.stop] = scores[1:-1] - scores[1:-1, :1]
        dangers = highest[1:] / max(highest[1:].sum(), 1.0)
        probabilities = [max(1 - dangers.sum(), 0.0), *dangers]
        return Reading(text, dict(zip(self.names, map(float, probabilities), strict=True)), spans, contributions)


def cut_text(text: str) -> str:
    """Returns a text without the middle of a very long one."""
    return text if len(text) <= 2 * _MAX_HALF else f"{text[:_MAX_HALF]}\n{text[-_MAX_HALF:]}"


def plan_windows(tokens: int) -> list[range]:
    """Returns the tokens of each window, at least one; the middle of a very long message is left out."""
    size = WINDOW - 2
    starts = [0]
    while starts[-1] + size < tokens:
        starts.append(min(starts[-1] + size - _OVERLAP, tokens - size))
    if len(starts) > _MAX_WINDOWS:
        starts = starts[: _MAX_WINDOWS // 2] + starts[-_MAX_WINDOWS // 2 :]
    return [range(start, min(start + size, tokens)) for start in starts]


@cache
def load_classifier() -> EncoderClassifier:
    """Loads the classifier that is part of the package."""
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    # A message is short: more threads cost more than they save.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(PATH), options, providers=["CPUExecutionProvider"])
    metadata = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
    tokenizer = Tokenizer.from_file(str(TOKENIZER_PATH))
    tokenizer.encode_special_tokens = True  # "[SEP]" in a message is text
    return EncoderClassifier(session, tokenizer, metadata["classes"], metadata["scale"], metadata["shifts"])
