"""Synthetic consultations for demonstrations and tests, composed from ``complaints.yaml``.

No patient wrote them and no doctor answered them: they are not medical advice.
"""

from pathlib import Path

PATH: Path = Path(__file__).with_name("consultations.csv")
