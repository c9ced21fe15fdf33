"""Standard output that cannot hold every character, or that nobody reads any more."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys
from pathlib import Path

import pytest
import torch
import yaml

from lightning_med.cli.command import main
from lightning_med.utils.output import drop_lost_output, protect_output
from tests import tiny

TEXT = "37 °C — “fine” ─ 体"


@pytest.mark.parametrize(
    ("encoding", "errors", "written"),
    [
        ("latin-1", "strict", "37 °C ? ?fine? ? ?"),
        ("ascii", "strict", "37 ?C ? ?fine? ? ?"),
        ("ascii", "surrogateescape", "37 ?C ? ?fine? ? ?"),  # Python's choice in the locale C
        ("utf-8", "strict", TEXT),
        ("utf-8", "surrogateescape", TEXT),
        ("latin-1", "backslashreplace", r"37 °C \u2014 \u201cfine\u201d \u2500 \u4f53"),
    ],
)
def test_characters_that_an_encoding_lacks_are_replaced(encoding: str, errors: str, written: str) -> None:
    raw = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(raw, encoding, errors)), protect_output():
        print(TEXT, end="", flush=True)
        assert raw.getvalue().decode(encoding) == written


def test_a_file_name_that_is_not_utf8_can_be_printed() -> None:
    raw = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(raw, "utf-8")), protect_output():
        print(os.fsdecode(b"caf\xe9"), end="", flush=True)
        assert raw.getvalue() == b"caf?"


class Broken(io.StringIO):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, "gone")  # a BrokenPipeError for EPIPE


def test_a_closed_terminal_is_no_error() -> None:
    with contextlib.redirect_stdout(Broken(errno.EIO)), protect_output():
        print("nobody reads this")


def test_a_closed_pipe_is_one_until_there_is_something_to_save() -> None:
    with contextlib.redirect_stdout(Broken(errno.EPIPE)), protect_output():
        with pytest.raises(BrokenPipeError):
            print("nobody reads this")
        drop_lost_output()
        print("nor this")


def test_messages_of_errors_are_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Broken(errno.EPIPE))
    assert main(["no-such-verb"]) == 2


def test_a_full_disk_is_an_error() -> None:
    with contextlib.redirect_stdout(Broken(errno.ENOSPC)), protect_output(), pytest.raises(OSError, match="gone"):
        print("a line of a file")


def test_without_standard_output_a_command_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """`>&-` in a shell: Python then has no stream at all."""
    monkeypatch.setattr(sys, "stdout", None)
    with protect_output():
        print(TEXT)
        sys.stdout.flush()
    assert sys.stdout is None


def test_the_streams_are_restored() -> None:
    before = sys.stdout, sys.stderr
    with protect_output(), protect_output():
        pass
    assert (sys.stdout, sys.stderr) == before


def test_a_fit_and_its_answers_under_an_encoding_of_one_byte(tmp_path: Path) -> None:
    """Sample answers, the progress bar, tables and an answer hold characters that Latin-1 lacks."""
    table = tiny.table(tmp_path / "consultations.csv")
    table.write_text(table.read_text(encoding="utf-8").replace("?", f" {TEXT}?"), encoding="utf-8")
    content = tiny.settings(tmp_path, max_epochs=1, callbacks=[])
    config = tmp_path / "odd.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    run = tmp_path / "lightning_logs" / "odd" / "version_0"
    last, export = run / "checkpoints" / "last.ckpt", run / "export"

    def call(*argv: object) -> str:
        out, err = (io.TextIOWrapper(io.BytesIO(), "latin-1", write_through=True) for _ in range(2))
        with contextlib.chdir(tmp_path), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            assert main([str(word) for word in argv]) == 0, err.buffer.getvalue()  # type: ignore[attr-defined]
        return str(out.buffer.getvalue().decode("latin-1"))  # type: ignore[attr-defined]

    shown = call("fit", "--config", config)
    assert "Sample answers at step" in shown
    assert "37 °C" in shown.replace("\n", " ")
    assert "体" not in shown
    assert torch.load(last, weights_only=True)["global_step"] > 2
    call("export", "--checkpoint", last, "--output", export)
    answer = json.loads(call("respond", "--model", export, "--json", "--safety", "off", f"My tongue is sore. {TEXT}"))
    assert answer["question"].endswith(TEXT)
    assert json.loads(call("triage", f"My tongue is sore. {TEXT}"))["level"] == "ordinary"
