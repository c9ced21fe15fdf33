"""The shipped configs, in the checkout or in the installed package."""

from __future__ import annotations

from pathlib import Path


def find_shipped_configs(argv: list[str]) -> list[str]:
    """Returns the arguments with `configs/NAME.yaml` replaced by the shipped file, if there is no such file here."""
    return [_find_one(word) for word in argv]


def get_shipped_folder() -> Path:
    """Returns the folder of the shipped configs."""
    packaged = Path(__file__).parents[1] / "configs"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "configs"


def _find_one(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--config=") else ("", "", word)
    path = Path(value)
    if path.suffix == ".yaml" and path.parent.name == "configs" and not path.exists():
        shipped = get_shipped_folder() / path.name
        if shipped.is_file():
            return f"{option}{equals}{shipped}"
    return word
