"""Pictures are small, in the repository and as the script writes them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lightning_med.utils.errors import InputError
from tests.conftest import ROOT

image = pytest.importorskip("PIL.Image")


def make_png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def test_a_picture_gets_a_palette_and_one_that_is_too_large_is_refused(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    pictures = script("make_pictures")
    page = np.full((300, 400, 3), 255, np.uint8)
    page[100:120, 50:200] = (200, 30, 30)
    pictures.save(make_png(page), tmp_path / "page.png")
    saved = image.open(tmp_path / "page.png")
    assert saved.mode == "P"
    assert saved.size == (400, 300)
    assert saved.convert("RGB").getpixel((60, 110)) == (200, 30, 30)
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8)
    with pytest.raises(InputError, match=r"noise\.png would have"):
        pictures.save(make_png(noise), tmp_path / "noise.png")
    assert [path.name for path in tmp_path.iterdir()] == ["page.png"]


def test_no_picture_of_the_documentation_is_large(script: Callable[[str], ModuleType]) -> None:
    largest = script("make_pictures").LARGEST
    assert not [path.name for path in (ROOT / "docs").rglob("*.png") if path.stat().st_size > largest]
