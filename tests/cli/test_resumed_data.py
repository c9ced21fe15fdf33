"""A resumed run takes its own prepared data, or says what differs from it before any is prepared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_med.checkpoints.digests import write_digest
from lightning_med.checkpoints.reading import KEY
from lightning_med.data.preparation.cache import keys
from tests import tiny

NAMED = ("--name", "small", "--resume", "auto")  # the run has moved, its config has not
STOP = ("--trainer.callbacks+", "tests.tiny.Send", "--trainer.callbacks.step", 2)
CHANGES = ("library pandas", "library tokenizers", "code that reads and cleans", "code that splits and encodes")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config file, its data, its cache, a whole run `whole` and a stopped one `stopped`."""
    folder = tmp_path_factory.mktemp("own_data")
    content = tiny.settings(folder, max_epochs=1, max_steps=4, callbacks=[])
    content["samples"] = {"questions": 0}
    (folder / "small.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    for name, code, options in (("whole", 0, ()), ("stopped", 143, STOP)):
        (folder / name).mkdir()
        status, _, err = tiny.command("fit", "--config", folder / "small.yaml", *options, cwd=folder / name)
        assert status == code, err
    return folder


def load_last(place: Path) -> dict[str, Any]:
    path = place / "lightning_logs" / "small" / "version_0" / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)  # type: ignore[no-any-return]


def resume(home: Path, place: Path, *options: object) -> tuple[int, str]:
    """Resumes a copy of the stopped run; returns the exit status and the output."""
    if not place.exists():
        shutil.copytree(home / "stopped", place, symlinks=True)
    status, out, err = tiny.command("fit", "--config", home / "small.yaml", *NAMED, *options, cwd=place)
    return status, out + err


def change(monkeypatch: pytest.MonkeyPatch, part: str) -> str:
    """Gives a library another version, or the package other code; returns what a message says of it."""
    if part.startswith("library "):
        version, name = keys.version, part.removeprefix("library ")
        monkeypatch.setattr(keys, "version", lambda library: version(library) + ".1" * (library == name))
        return f"{part} ({version(name)} there, {version(name)}.1 here)"
    own = keys.ROW_CODE if "cleans" in part else keys.TOKEN_CODE
    digest_code = keys.digest_code
    monkeypatch.setattr(
        keys, "digest_code", lambda code: digest_code(code)[:-1] + "x" if code == own else digest_code(code)
    )
    return part


def list_prepared(cache: Path) -> set[str]:
    return {path.name for folder in (cache, cache / "clean_rows") for path in folder.iterdir() if path.is_dir()}


@pytest.mark.parametrize("part", CHANGES)
def test_other_software_takes_the_runs_own_data_as_it_is(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    said, before = change(monkeypatch, part), list_prepared(home / "cache")
    status, output = resume(home, tmp_path / "run")
    assert status == 0, output
    assert f"taken from the cache as it was prepared, although it was with another {said}." in output
    assert list_prepared(home / "cache") == before
    ours, theirs = load_last(tmp_path / "run"), load_last(home / "whole")
    for name in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step"):
        assert tiny.is_equal(ours[name], theirs[name]), name
    assert ours[KEY]["data"] == theirs[KEY]["data"]


@pytest.mark.parametrize("part", [CHANGES[0], CHANGES[-1]])
def test_other_software_without_the_runs_own_data_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    said, empty = change(monkeypatch, part), tmp_path / "empty"
    status, output = resume(home, tmp_path / "run", "--data.cache_dir", empty)
    assert status == 2, output
    assert f"was prepared otherwise, and is no longer in {empty}: {said}." in output
    assert ("pip install pandas==" in output) == (part == CHANGES[0])
    assert "--resume_anyway true" in output
    assert list_prepared_or_none(empty) == set()


def list_prepared_or_none(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir() if path.is_dir()} if cache.exists() else set()


def test_the_same_software_makes_lost_data_again(home: Path, tmp_path: Path) -> None:
    status, output = resume(home, tmp_path / "run", "--data.cache_dir", tmp_path / "empty")
    assert status == 0, output
    assert tiny.is_equal(load_last(tmp_path / "run")["state_dict"], load_last(home / "whole")["state_dict"])


def edit_source(home: Path, target: Path) -> Path:
    target.write_text((home / "consultations.csv").read_text() + "Is one more row another table?,Yes it is one.\n")
    return target


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--data.val_fraction", "0.2"], "val_fraction (0.1 there, 0.2 here)"),
        (["--data.rules", '{"cut_answer": true}'], "rule cut_answer (false there, true here)"),
        (["--data.max_length", "100"], "max_length (128 there, 100 here)"),
        (["--data.source", "SOURCE"], "differs in content of the sources"),
        (["--data.check_against", "TABLE"], "check_against"),
    ],
)
def test_other_sources_and_settings_are_refused_before_anything_is_prepared(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], named: str
) -> None:
    change(monkeypatch, CHANGES[0])
    source = edit_source(home, tmp_path / "consultations.csv")
    given = {"SOURCE": str(source), "TABLE": str(tiny.table(tmp_path / "public.csv", 3, seed=9))}
    before = list_prepared(home / "cache")
    options = [given.get(option, option) for option in options]
    status, output = resume(home, tmp_path / "run", *options)
    assert status == 2, output
    assert named in output
    assert "library pandas" in output
    assert list_prepared(home / "cache") == before


def forget_parts(place: Path) -> None:
    """Makes the last checkpoint one of an earlier release, which kept no parts of the data's fingerprint."""
    path = (place / "lightning_logs" / "small" / "version_0" / "checkpoints" / "last.ckpt").resolve()
    content = torch.load(path, weights_only=True)
    data = json.loads(content[KEY]["data"])
    del data["parts"]
    content[KEY]["data"] = json.dumps(data)
    torch.save(content, path)
    write_digest(path, path)


def test_a_checkpoint_of_an_earlier_release_is_compared_by_its_fingerprint(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "run"
    shutil.copytree(home / "stopped", place, symlinks=True)
    forget_parts(place)
    status, output = resume(home, place, "--data.val_fraction", "0.2")
    assert status == 2, output
    assert "of another run: data '" in output
    status, output = resume(home, place)
    assert status == 0, output
