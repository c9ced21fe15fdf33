"""Published results on the English test set of CovidDialog, as printed.

Source: Zeng, Yang et al., "On the Generation of Medical Dialogues for COVID-19", arXiv:2005.05442 (2020). The paper
does not say whether its BLEU is that of the corpus or the mean over replies; the authors' code computes both.
"""

from __future__ import annotations

from collections.abc import Mapping

ROWS: Mapping[str, Mapping[str, float]] = {
    "Transformer, from scratch (published)": {
        "perplexity": 263.1,
        "nist4": 0.71,
        "bleu2": 7.3,
        "bleu4": 5.2,
        "meteor": 5.6,
    },
    "DialoGPT-small, tuned (published)": {
        "perplexity": 28.3,
        "nist4": 1.90,
        "bleu2": 9.6,
        "bleu4": 6.1,
        "meteor": 9.0,
    },
    "highest BLEU of all published models": {"bleu2": 11.5, "bleu4": 7.6},
}
