"""Sizes of files, classes and folders, and the limits on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Script = Callable[[str], ModuleType]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with every size at its limit."""
    root = tmp_path / "package"
    (root / "inner").mkdir(parents=True)
    for name in ("__init__.py", "__main__.py", "version.py", "inner/__init__.py"):
        (root / name).write_text("")
    for number in range(12):
        (root / "inner" / f"part_{number}.py").write_text("x = 1\n" * 10)
    (root / "inner" / "part_0.py").write_text("x = 1\n" * 300)
    (root / "inner" / "part_1.py").write_text("class Long:\n" + "    x = 1\n" * 199)
    return root


def test_limits_may_be_reached(script: Script, package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script("show_layout").main([str(package)]) == 0
    printed = capsys.readouterr().out
    assert "inner/part_1.py:Long" in printed
    assert "200 lines" in printed
    assert "over the limit" not in printed


@pytest.mark.parametrize(
    ("path", "text", "named"),
    [
        ("inner/part_0.py", "x = 1\n" * 301, "inner/part_0.py"),
        ("inner/part_1.py", "class Long:\n" + "    x = 1\n" * 200, "inner/part_1.py:Long"),
        ("inner/part_12.py", "", "inner"),
        ("loose.py", "", "loose.py"),
    ],
)
def test_one_over_a_limit_is_named(
    script: Script, package: Path, path: str, text: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (package / path).write_text(text)
    assert script("show_layout").main([str(package)]) == 1
    marked = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "over the limit" in line]
    assert named in marked


def test_a_folder_that_is_no_package_is_refused(script: Script, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refusal:
        script("show_layout").main([str(tmp_path)])
    assert refusal.value.code == 2


def test_the_table_counts(script: Script, package: Path) -> None:
    layout = script("show_layout").measure_layout(package)
    assert layout.files["inner/part_0.py"] == 300
    assert layout.folders == {".": 2, "inner": 12}
    assert sorted(layout.root) == ["__init__.py", "__main__.py", "version.py"]
