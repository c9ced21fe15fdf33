"""`lightning-med completion` prints scripts that the shells themselves complete with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lightning_med.cli.command import VERBS
from tests import tiny

# Calls the function as bash does when the tab key is pressed.
CALL = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
_shtab_lightning_med lightning-med "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash."""
    path = tmp_path_factory.mktemp("completion") / "lightning-med"
    status, out, err = tiny.command("completion", "bash")
    assert status == 0, err
    path.write_text(out)
    return path


def complete(script: Path, *words: str, cwd: Path | None = None) -> set[str]:
    """Returns what bash offers for the last word."""
    argv = ["bash", "--norc", "-c", CALL, "bash", str(script), "lightning-med", *words]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=30, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["f"], {"fit", "fetch"}),
        (["fit", "--model.lo"], {"--model.lora"}),
        (["fit", "--check"], {"--checkpoint", "--checkpoint_every", *(f"--checkpoint.{name}" for name in ("keep",))}),
        (["prepare", "--js"], {"--json"}),
        (["fit", "--trainer.precision", "bf16-m"], {"bf16-mixed"}),
        (["fit", "--data.private_data", ""], {"true", "false"}),
        (["export", "--format", ""], {"hf", "gguf"}),
        (["serve", "--engine", "l"], {"llama.cpp"}),
        (["init", "--machine", ""], {"gpu", "cpu", "cluster"}),
        (["completion", ""], {"bash", "zsh", "tcsh"}),
        (["test", "--resu"], set()),  # of fit alone
    ],
)
def test_bash_completes_options_and_choices_of_each_verb(script: Path, words: list[str], offered: set[str]) -> None:
    found = complete(script, *words)
    assert offered <= found
    assert len(found) == len(offered) or words[1] == "--check"


def test_bash_knows_every_verb_and_files(script: Path, tmp_path: Path) -> None:
    assert complete(script, "") >= set(VERBS)
    (tmp_path / "notes.yaml").touch()
    assert complete(script, "fit", "--config", "no", cwd=tmp_path) == {"notes.yaml"}
    assert complete(script, "respond", "--input", "no", cwd=tmp_path) == {"notes.yaml"}


@pytest.mark.parametrize(("shell", "check"), [("zsh", ["-n"]), ("tcsh", ["-f"])])
def test_other_shells_read_their_script(shell: str, check: list[str], tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    status, out, err = tiny.command("completion", shell)
    assert status == 0, err
    (tmp_path / "script").write_text(out)
    result = subprocess.run([shell, *check, str(tmp_path / "script")], capture_output=True, text=True, timeout=30)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["fish", "pwsh"])
def test_other_shells_are_refused(shell: str) -> None:
    status, out, err = tiny.command("completion", shell)
    assert (status, out, len(err.splitlines())) == (2, "", 2)
    assert f"no completion for {shell}" in err
