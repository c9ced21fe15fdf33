"""What is mounted below a stage's folder: it goes whatever happens, and nobody is told to remove a folder before."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from lightning_med.utils.errors import InputError, RunError
from lightning_med.utils.signals import Interrupted, raise_on_signals

Script = Callable[[str], ModuleType]


class System:
    """The system's mount points, and the commands that change them.

    Attributes:
        busy: Whether a plain `umount` fails.
        fails: The path whose `mount` fails.
    """

    def __init__(self, table: Path) -> None:
        self.table, self.points, self.options = table, list[str](), dict[str, str]()
        self.busy, self.fails = False, ""
        self._write()

    def run(self, argv: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        """Stands for `subprocess.run`."""
        place, status = argv[-1], 0
        if argv[0] == "mount" and argv[-2] != self.fails:
            self.points.append(place)
            self.options[argv[-2]] = argv[2]
        elif argv[0] == "umount" and ("--lazy" in argv or not self.busy):
            self.points.remove(place)
        elif argv[0] != "chroot":
            status = 32
        self._write()
        return subprocess.CompletedProcess(argv, status)

    def _write(self) -> None:
        lines = [f"36 35 98:0 / {point.replace(' ', chr(92) + '040')} rw - ext4 /dev/a rw" for point in self.points]
        self.table.write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def system(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    made = System(tmp_path / "mountinfo")
    monkeypatch.setattr(script("container.mounts"), "TABLE", made.table)
    monkeypatch.setattr(script("container.mounts"), "subprocess", SimpleNamespace(run=made.run))
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder for a stage, with a space in its name, as a table of mounts writes it otherwise."""
    folder = tmp_path / "my stages" / "stage-a"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("busy", [False, True])
def test_all_is_unmounted_when_a_signal_comes(script: Script, system: System, root: Path, busy: bool) -> None:
    system.busy = busy
    shared = root.parent / "wheels"
    shared.mkdir()

    def work() -> None:
        with raise_on_signals(), script("container.mounts").mount(root, [shared]):
            assert system.points == [f"{root}/proc", f"{root}/dev", f"{root}{shared}"]
            assert system.options == {"/proc": "bind", "/dev": "bind", str(shared): "bind,ro"}
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        work()
    assert system.points == []


def test_what_was_mounted_goes_where_the_next_mount_fails(script: Script, system: System, root: Path) -> None:
    system.fails = "/dev"
    with pytest.raises(RunError, match=r"mount -o bind /dev .* status 32"), script("container.mounts").mount(root, []):
        pass
    assert system.points == []


def test_nothing_is_mounted_outside_the_root(script: Script, system: System, root: Path, tmp_path: Path) -> None:
    (root / "dev").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="/dev leads out of"), script("container.mounts").mount(root, []):
        pass
    assert system.points == []


def test_a_folder_with_mounts_below_is_not_to_be_removed(
    script: Script, system: System, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root.parent / "base" / "bin").mkdir(parents=True)
    main = script("check_dockerfile").main
    assert main([str(root.parent)]) == 2
    assert "Remove it" in capsys.readouterr().err
    for place in ("proc", "dev"):
        system.run(["mount", "-o", "bind", f"/{place}", f"{root}/{place}"])
    assert main([str(root.parent)]) == 2
    error = capsys.readouterr().err
    assert f"umount --lazy '{root}/dev' '{root}/proc'" in error
    assert "Remove it" not in error


def test_without_the_rights_of_root_nothing_is_made(
    script: Script, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (root.parent / "base" / "bin").mkdir(parents=True)
    root.rmdir()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert script("check_dockerfile").main([str(root.parent)]) == 2
    assert "Only root may" in capsys.readouterr().err
    assert not root.exists()
    assert [path.name for path in root.parent.iterdir()] == ["base"]
