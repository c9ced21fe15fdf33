"""Short runs with callbacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L

from tests import tiny


def fit(folder: Path, tmp_path: Path, callbacks: list[Any], ckpt_path: Path | None = None, **changes: Any) -> Any:
    """Returns the trainer after a short fit."""
    L.seed_everything(3, verbose=False)
    trainer = tiny.trainer(tmp_path, callbacks=callbacks, **changes)
    trainer.fit(tiny.language_model(), tiny.data_module(folder), ckpt_path=ckpt_path, weights_only=True)
    return trainer


def predict(
    folder: Path, tmp_path: Path, checkpoint: Path, *callbacks: Any, max_new_tokens: int = 3, **changes: Any
) -> None:
    """Predicts the answers to the test questions."""
    trainer = tiny.trainer(tmp_path, callbacks=list(callbacks), **changes)
    model, data = tiny.language_model(max_new_tokens=max_new_tokens), tiny.data_module(folder)
    trainer.predict(model, data, ckpt_path=checkpoint, return_predictions=False, weights_only=True)
