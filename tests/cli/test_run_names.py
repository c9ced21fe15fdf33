"""Names of runs, and runs that began with another config of the same name."""

from __future__ import annotations

import argparse
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.checkpoints.run_folder import SETTINGS, clean_name, format_origin, get_runs_folder
from lightning_med.cli.run_names import find_origin, find_versions, name_run
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.cli.helpers import run_refused, write_small_config


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("configs/distilgpt2.yaml", "distilgpt2"),
        ("a/config.yaml", "a"),
        ("b/config.yaml", "b"),
        ("b/config.yml", "b"),
        ("/My Project/config.yaml", "My-Project"),
        ("/logs/tiny/version_0/config.yaml", "tiny"),  # a run's own
        ("/config.yaml", "run"),  # as mounted into a container
        ("/app/config.yaml", "app"),
        ("/app/.yaml", "app"),
        ("/app/.hidden.yaml", "app"),
        ("/.git/config.yaml", "git"),
        ("my run.v2.yaml", "my-run.v2"),
        ("a/../b/config.yaml", "b"),
        ("tiny", "tiny"),
        ("hindi हिन्दी.yaml", "hindi-हिन्दी"),
        ("Größe.yaml", "Größe"),
        (unicodedata.normalize("NFD", "Größe.yaml"), "Größe"),
        ("$(rm -rf).yaml", "rm--rf"),
        ("--.yaml", "run"),
        ("con.yaml", "run-con"),
        ("NUL.v2.yaml", "run-NUL.v2"),
        ("caf\udce9.yaml", "caf"),  # a file's name that is not UTF-8
        ("trailing..yaml", "trailing"),
    ],
)
def test_a_run_is_named_after_its_config(path: str, name: str) -> None:
    assert name_run([path]) == name


def test_a_config_beside_the_command_takes_the_name_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trial 3").mkdir()
    monkeypatch.chdir(tmp_path / "trial 3")
    assert name_run(["config.yaml"]) == name_run(["./config.yaml"]) == "trial-3"


def test_a_run_without_a_config_has_a_name() -> None:
    assert name_run(None) == name_run([]) == name_run([None]) == "run"


@given(
    st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1).map(
        lambda name: f"{name}.yaml"
    )
)
def test_every_config_gives_a_name_that_is_accepted(name: str) -> None:
    found = name_run([f"/folder/{name}"])
    assert get_runs_folder("root", found).name == found
    assert found.isprintable()
    assert os.sep not in found
    assert clean_name(found) == found


def test_a_name_that_will_not_do_is_answered_with_one_that_does() -> None:
    with pytest.raises(InputError, match="My Project") as caught:
        get_runs_folder(None, "My Project")
    assert "--name My-Project" in caught.value.hint


# ------------------------------------------------------------------ two configs of one name


def make_call(config: Path | None, root: Path, **changes: Any) -> argparse.Namespace:
    """Returns settings as far as they say which run is meant."""
    configs = None if config is None else [config]
    call = {"config": configs, "name": name_run(configs), "trainer": argparse.Namespace(default_root_dir=root)}
    settings = argparse.Namespace(**{**call, **changes})
    settings.get = lambda name: getattr(settings, name, None)
    return settings


def make_run(home: Path, number: int, origin: str = "") -> Path:
    run = home / f"version_{number}"
    run.mkdir(parents=True)
    (run / SETTINGS).write_text(format_origin(origin) + "model: {}\n")
    return run


def test_the_runs_of_a_config_are_those_that_began_with_it(tmp_path: Path) -> None:
    home = get_runs_folder(tmp_path, "exp")
    runs = [make_run(home, number, origin) for number, origin in enumerate(("x/exp.yaml", "y/exp.yaml", ""))]
    assert find_versions(home, make_call(tmp_path / "x" / "exp.yaml", tmp_path), is_named=False) == [runs[0], runs[2]]
    assert find_versions(home, make_call(tmp_path / "y" / "exp.yaml", tmp_path), is_named=False) == [runs[1], runs[2]]


def test_a_name_that_belongs_to_another_config_is_refused(tmp_path: Path) -> None:
    home = get_runs_folder(tmp_path, "exp")
    run = make_run(home, 0, "x/exp.yaml")
    call = make_call(tmp_path / "y" / "exp.yaml", tmp_path)
    with pytest.raises(InputError, match=r"began with --config x/exp\.yaml, not with y/exp\.yaml") as caught:
        find_versions(home, call, is_named=False)
    assert "--name" in caught.value.hint
    assert find_versions(
        home, make_call(tmp_path / "y" / "exp.yaml", tmp_path, resume_anyway=True), is_named=False
    ) == [run]
    for config in (tmp_path / "y" / "exp.yaml", tmp_path / "y" / "other.yaml", None):
        assert find_versions(home, make_call(config, tmp_path, name="exp"), is_named=True) == [run]


def test_runs_and_configs_may_move_together(tmp_path: Path) -> None:
    origin = find_origin([tmp_path / "old" / "configs" / "exp.yaml"], tmp_path / "old")
    home = get_runs_folder(tmp_path / "new", "exp")
    run = make_run(home, 0, origin)
    assert find_versions(
        home, make_call(tmp_path / "new" / "configs" / "exp.yaml", tmp_path / "new"), is_named=False
    ) == [run]


def test_runs_may_move_without_their_config(tmp_path: Path) -> None:
    config = tmp_path / "configs" / "exp.yaml"
    home = get_runs_folder(tmp_path / "deep" / "new", "exp")
    run = make_run(home, 0, find_origin([config], tmp_path / "old"))
    assert find_versions(home, make_call(config, tmp_path / "deep" / "new"), is_named=False) == [run]


def test_a_runs_own_config_means_that_run(tmp_path: Path) -> None:
    home = get_runs_folder(tmp_path, "exp")
    first, _ = make_run(home, 0, "x/exp.yaml"), make_run(home, 1, "y/exp.yaml")
    call = make_call(first / SETTINGS, tmp_path)
    assert call.name == "exp"
    assert find_versions(home, call, is_named=False) == [first]
    assert find_origin(call.config, tmp_path) == "x/exp.yaml"  # of a new run with the same settings


def test_two_configs_of_one_name_do_not_touch_each_others_runs(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_small_config(folder, tmp_path / name).rename(tmp_path / name / "config.yaml")
        (tmp_path / name / "exp.yaml").write_bytes((tmp_path / name / "config.yaml").read_bytes())
    for config in ("a/config.yaml", "a/exp.yaml"):
        status, _, err = tiny.command("fit", "--config", config, cwd=tmp_path)
        assert status == 0, err
    saved = (tmp_path / "lightning_logs" / "exp" / "version_0" / "config.yaml").read_text(encoding="utf-8")
    assert saved.startswith("# The run began with --config a/exp.yaml\n")
    err = run_refused("test", "--config", "b/config.yaml", "--ckpt_path", "last", cwd=tmp_path)
    assert "lightning_logs/b" in err
    for argv in (("test", "--ckpt_path", "last"), ("fit", "--resume", "auto"), ("fit", "--ckpt_path", "last")):
        assert "began with --config a/exp.yaml" in run_refused(
            *argv[:1], "--config", "b/exp.yaml", *argv[1:], cwd=tmp_path
        )
    status, out, err = tiny.command("fit", "--config", "a/exp.yaml", "--resume", "auto", cwd=tmp_path)
    assert (status, "is finished" in out) == (0, True), err
    assert sorted(path.name for path in (tmp_path / "lightning_logs").iterdir()) == ["a", "exp"]
