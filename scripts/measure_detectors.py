"""Prints how often the detectors of manner are right on the labelled examples, as the table in docs.

    python scripts/measure_detectors.py [--mistakes]

`--mistakes` also prints where they are wrong, of the examples that may be read while patterns are changed. The others
are held apart: whoever reads them for the patterns has nothing left to measure with.
"""

from __future__ import annotations

import argparse
import sys

from lightning_med.evaluation.manner.detectors import NAMES, detect
from lightning_med.evaluation.manner.indicators import format_detectors, read_examples


def list_mistakes() -> list[str]:
    """Returns a line for each wrong answer of a detector, on the examples that are not held apart."""
    mistakes = []
    for example in read_examples():
        found = detect(example["text"])
        for name in NAMES:
            if not example["held_apart"] and (name in found) != (name in example["labels"]):
                mistakes.append(f"{name}, {'false yes' if name in found else 'missed'}: {example['text']}")
    return mistakes


def main(argv: list[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser("measure_detectors", description="Precision and recall of the detectors.")
    parser.add_argument("--mistakes", action="store_true", help="also print where they are wrong")
    arguments = parser.parse_args(argv)
    print(format_detectors())
    if arguments.mistakes:
        print("\n".join(["", *list_mistakes()]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
