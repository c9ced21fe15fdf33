"""The check of the wheel: what its commands know of this machine."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from lightning_med.cli.command import main


def test_paths_with_spaces_stay_one_word(
    script: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker, ran = script("check_wheel"), []

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        ran.append(argv)
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(checker, "subprocess", SimpleNamespace(run=run, DEVNULL=subprocess.DEVNULL))
    monkeypatch.setattr(checker, "_ROOT", tmp_path / "My Projects")
    folder, wheel = tmp_path / "a place", tmp_path / "my wheels" / "a.whl"
    folder.mkdir()
    checker.install(checker.Place(folder), wheel, "app")
    environment, packages, _ = ran
    assert environment == [sys.executable, "-m", "venv", str(folder / "env")]
    assert packages[-3:] == [f"{wheel}[app]", "-c", str(tmp_path / "My Projects" / "constraints.txt")]


def test_what_build_wrote_is_shown_only_if_it_fails(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    checker = script("check_wheel")
    monkeypatch.setattr(checker.sys, "executable", "/bin/ls")  # `ls -m build`: there is no such file
    assert checker.main([]) == 1
    assert "check_wheel: the wheel cannot be built: /bin/ls" in capfd.readouterr().err


def test_commands_know_how_to_reach_the_index_and_nothing_else(
    script: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    kept = {*proxies, *map(str.lower, proxies), "PIP_INDEX_URL", "SSL_CERT_FILE"}
    for name in (*kept, "LIGHTNING_MED_AUTH", "PYTHONPATH", "HF_HOME"):
        monkeypatch.setenv(name, "of this machine")
    variables = script("check_wheel").Place(tmp_path).variables
    found = {name for name, value in variables.items() if value == "of this machine"}
    assert found == kept


def test_the_verbs_have_the_options_of_the_commands(
    script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    checker = script("check_wheel")
    commands = [*checker._COMMANDS.strip().splitlines(), *checker._MORE.values()]
    words = [shlex.split(command)[1:] for command in commands if command.startswith("lightning-med")]
    assert len(words) > 12
    for verb, *options in words:
        if verb.startswith("--"):
            continue
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        shown = set(re.findall(r"--[\w.]+", capsys.readouterr().out))
        assert {word for word in options if word.startswith("--")} <= shown, verb
