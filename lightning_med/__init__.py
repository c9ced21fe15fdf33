"""Fine-tunes small language models on doctor-patient consultations.

The public names are `DialogueDataModule`, `DialogueLM`, `Responder` and `generate_response`.
For research and education: not a medical device, and never a substitute for care.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_med.utils.telemetry import switch_off_telemetry
from lightning_med.version import __version__

switch_off_telemetry()  # here, before any module of ours imports a library that has some

__all__ = ["DialogueDataModule", "DialogueLM", "Responder", "__version__", "generate_response"]

if TYPE_CHECKING:
    from lightning_med.data.module import DialogueDataModule
    from lightning_med.serving.responder import Responder, generate_response
    from lightning_med.training.module import DialogueLM

_HOMES = {
    "DialogueDataModule": "lightning_med.data.module",
    "DialogueLM": "lightning_med.training.module",
    "Responder": "lightning_med.serving.responder",
    "generate_response": "lightning_med.serving.responder",
}


def __getattr__(name: str) -> Any:
    """Imports torch and all that follows only when one of the public names is used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Lists the public names too that are not imported yet."""
    return sorted({*globals(), *__all__})
