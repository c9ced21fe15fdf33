"""`lightning-med fetch`: the folder of a base by its name; what GGUF files become is tested with the script's name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lightning_med.cli.bases import base_folder, manifest
from lightning_med.cli.bases.download import BASES
from lightning_med.utils import hub
from lightning_med.utils.errors import UnavailableError
from tests import tiny


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of smollm2 in an empty current folder; what fetches it makes one file."""

    def fetch(name: str, output: Path) -> int:
        output.mkdir()
        save_file({"a": np.ones(3), "b": np.ones((2, 2))}, output / "model.safetensors")
        manifest.write_manifest(output, BASES[name].origin)
        return 7

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base_folder, "_fetch", fetch)
    return tmp_path / "bases" / "smollm2"


def test_a_base_is_made_once_in_bases(here: Path) -> None:
    status, out, err = tiny.command("fetch", "smollm2", "--json")
    assert status == 0, err
    assert json.loads(out) == {"base": "bases/smollm2", "weights": 7}
    assert "next: lightning-med init --base bases/smollm2" in err
    (here / "mine.txt").touch()
    status, out, err = tiny.command("fetch", "smollm2", "--json")
    assert (status, json.loads(out)) == (0, {"base": "bases/smollm2", "weights": 7})
    assert "is there, whole and unchanged" in err
    assert (here / "mine.txt").exists()


@pytest.mark.parametrize("change", ["changed", "other"])
def test_a_folder_that_is_not_whole_is_refused_and_left(here: Path, change: str) -> None:
    tiny.command("fetch", "smollm2")
    (here / ("model.safetensors" if change == "changed" else "manifest.json")).write_bytes(b"else")
    status, out, err = tiny.command("fetch", "smollm2")
    assert (status, out, len(err.splitlines())) == (2, "", 2)
    assert {"changed": "has changed", "other": "something else"}[change] in err
    assert (here / "model.safetensors").exists()


def test_a_gguf_file_needs_an_output(here: Path) -> None:
    status, _, err = tiny.command("fetch", "model.gguf")
    assert status == 2
    assert "--output" in err


def test_a_base_that_is_not_fetched_is_never_looked_for_on_the_hub(here: Path) -> None:
    with pytest.raises(UnavailableError) as raised:
        hub.download("bases/smollm2", "--model.base FOLDER", ["*"])
    assert "lightning-med fetch smollm2" in raised.value.hint
