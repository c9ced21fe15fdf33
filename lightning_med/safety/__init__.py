"""Fixed rules before and after a model: `triage` reads a message, `guard` checks an answer.

Uses no network and no language model and imports nothing heavy: it can be used alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Guarded", "Verdict", "guard", "triage"]

if TYPE_CHECKING:
    from lightning_med.safety.answers.guard import Guarded, guard
    from lightning_med.safety.messages.triage import Verdict, triage

_MODULES = {
    "Guarded": "answers.guard",
    "guard": "answers.guard",
    "Verdict": "messages.triage",
    "triage": "messages.triage",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Lists the public names too that are not imported yet."""
    return sorted({*globals(), *__all__})
