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


def predict(folder: Path, tmp_path: Path, checkpoint: Path, *callbacks: Any) -> None:
    """Predicts the answers to the test questions."""
    trainer = tiny.trainer(tmp_path, callbacks=list(callbacks))
    model, data = tiny.language_model(max_new_tokens=3), tiny.data_module(folder)
    trainer.predict(model, data, ckpt_path=checkpoint, return_predictions=False, weights_only=True)
