"""Names and titles of baselines, and what every result says of its use."""

from __future__ import annotations

UNTUNED = "untuned"  # the base that a model was tuned from
CONSTANT, RETRIEVAL, RETRIEVAL_ENCODER, HUMAN = "constant", "retrieval", "retrieval_encoder", "human"
REFERENCE = "reference"  # the references themselves
TITLES = {
    UNTUNED: "Untuned base",
    CONSTANT: "Constant reply",
    RETRIEVAL: "Nearest training answer by words",
    RETRIEVAL_ENCODER: "Nearest training answer by meaning",
    HUMAN: "Another doctor",
    REFERENCE: "The references themselves",
}
DISCLAIMER = (
    "For research and education only. Not a medical device, not for clinical use, and never a substitute for care."
)


def name_in_sentence(baseline: str) -> str:
    """Returns a baseline's title within a sentence; the name itself of what is none."""
    title = TITLES.get(baseline)
    if title is None or baseline == REFERENCE:
        return title.lower() if title else baseline
    return f"{'' if baseline == HUMAN else 'the '}{title[0].lower()}{title[1:]}"
