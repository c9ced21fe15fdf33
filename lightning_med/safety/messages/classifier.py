"""A linear classifier over hashed features of a message: it raises alarms that the rules missed.

A softmax over the rules' categories, "urgent" and "ordinary", like fastText's without hidden layer (Joulin et al.,
2017). `scripts/train_triage.py` trains its weights on the repository's examples.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_med.safety.messages.classifier_features import BUCKETS, hash_feature
from lightning_med.safety.messages.danger_rules import read_rules
from lightning_med.safety.messages.phrase_matcher import FILLERS

if TYPE_CHECKING:
    import numpy as np

    from lightning_med.safety.messages.parsed_message import ParsedMessage

PATH = Path(__file__).with_name("classifier.safetensors")
_METADATA = "triage"  # the file's one metadata key: the order of several is not fixed


@dataclass(frozen=True)
class LinearClassifier:
    """The trained weights.

    Attributes:
        weights: `[BUCKETS, classes]`, int8.
        scale: `[classes]`, float32, the unit of a class's weights.
        constants: `[classes]`, float32, the class's score without any feature.
        names: Of the classes.
        limits: The probabilities above which a message alarms (`alarm`), is urgent (`urgent`), is refused (`harmful`).
        rules: Digest of the rules that it was trained with.
    """

    weights: np.ndarray
    scale: np.ndarray
    constants: np.ndarray
    names: list[str]
    limits: dict[str, float]
    rules: str

    def compute_probabilities(self, features: list[int]) -> dict[str, float]:
        """Returns the probability of each class, from the buckets of a message's features."""
        import numpy as np

        sums = self.weights[features].sum(0, dtype=np.int64)
        scores = sums * self.scale / max(len(features), 1) ** 0.5 + self.constants
        shares = np.exp(scores - scores.max())
        return dict(zip(self.names, (shares / shares.sum()).tolist(), strict=True))

    def find_evidence(self, message: ParsedMessage, name: str, most: int = 4) -> list[str]:
        """Returns the words of a message with the largest weights for a class."""
        column = self.weights[:, self.names.index(name)]
        weights = {
            word.text: int(column[hash_feature(word.text)])
            for word in message.words
            if len(word.text) > 2 and word.text not in FILLERS
        }
        return [word for word in sorted(weights, key=lambda word: -weights[word])[:most] if weights[word] > 0]


@cache
def load_classifier() -> LinearClassifier:
    """Loads the trained classifier that is part of the package."""
    import numpy as np
    from safetensors import safe_open

    with safe_open(PATH, framework="numpy") as file:
        metadata = json.loads(file.metadata()[_METADATA])
        tensors = {name: file.get_tensor(name) for name in ("nonzero", "values", "scale", "constants")}
    weights = np.zeros((BUCKETS, len(metadata["classes"])), dtype=np.int8)
    places = np.unpackbits(tensors["nonzero"], count=weights.size).view(bool)
    weights.reshape(-1)[places] = tensors["values"]
    return LinearClassifier(
        weights, tensors["scale"], tensors["constants"], metadata["classes"], metadata["limits"], metadata["rules"]
    )


def serialize_classifier(model: LinearClassifier) -> bytes:
    """Returns the content of a classifier's file, in the format of safetensors.

    Three of four weights are zero. The file holds one bit for each weight (`nonzero`, rows first) and the others
    (`values`), which is lossless and a third of the size.
    """
    import numpy as np
    from safetensors.numpy import save

    nonzero = model.weights != 0
    tensors = {
        "nonzero": np.packbits(nonzero),
        "values": model.weights[nonzero],
        "scale": model.scale,
        "constants": model.constants,
    }
    metadata = {"classes": model.names, "rules": model.rules, "limits": model.limits}
    return save(tensors, {_METADATA: json.dumps(metadata)})


def digest_rules() -> str:
    """Returns a digest of all that the classifier learns from the rules; if it changes, retrain the classifier.

    Comments, titles and sources do not count.
    """
    rules = read_rules()
    categories = {
        name: {key: value for key, value in category.items() if key not in ("title", "source")}
        for name, category in rules["categories"].items()
    }
    return sha256(json.dumps({**rules, "categories": categories}).encode()).hexdigest()[:16]
