"""The memory that a process may still take is that of the machine or of its container, whichever is less."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_med.utils.memory import free_memory


@pytest.fixture
def membership(tmp_path: Path) -> Path:
    """A file like `/proc/self/cgroup` of a process in the root group."""
    path = tmp_path / "cgroup"
    path.write_text("0::/\n")
    return path


def test_free_memory_is_that_of_the_machine_or_its_container(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_memory.measure_host_memory() > 1 << 20
    monkeypatch.setattr(free_memory, "_read_container_room", lambda: 12345)
    assert free_memory.measure_host_memory() == 12345


@pytest.mark.parametrize("version", [1, 2])
def test_memory_used_in_the_container_is_not_free(tmp_path: Path, membership: Path, version: int) -> None:
    """The usage counts against the limit, except for the file cache, which the kernel can reclaim."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }
    limit, usage, cache = names[version]
    folder = tmp_path / "memory" if version == 1 else tmp_path
    folder.mkdir(exist_ok=True)
    (folder / limit).write_text("1000\n")
    (folder / usage).write_text("700\n")
    (folder / "memory.stat").write_text(f"anon 600\n{cache} 100\n")
    assert free_memory._read_container_room(tmp_path, membership) == 400
    (folder / usage).write_text("1200\n")  # the limit was lowered
    assert free_memory._read_container_room(tmp_path, membership) == 0


@pytest.mark.parametrize(
    ("line", "base", "names"),
    [
        ("0::/user/scope", "", ("memory.max", "memory.current", "inactive_file")),
        (
            "4:memory:/user/scope",
            "memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
)
def test_the_limits_of_all_groups_above_a_process_count(
    tmp_path: Path, membership: Path, line: str, base: str, names: tuple[str, str, str]
) -> None:
    membership.write_text(f"9:name=systemd:/\n{line}\n")
    for folder, limit, used in (("user", 1000, 700), ("user/scope", 5000, 600)):
        group = tmp_path / base / folder
        group.mkdir(parents=True, exist_ok=True)
        (group / names[0]).write_text(f"{limit}\n")
        (group / names[1]).write_text(f"{used}\n")
        (group / "memory.stat").write_text(f"{names[2]} 0\n")
    assert free_memory._read_container_room(tmp_path, membership) == 300
    (tmp_path / base / "user" / names[0]).write_text("9000\n")
    assert free_memory._read_container_room(tmp_path, membership) == 4400


def test_a_container_without_a_limit_sets_no_bound(tmp_path: Path, membership: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("700\n")
    assert free_memory._read_container_room(tmp_path, membership) == float("inf")
    assert free_memory._read_container_room(tmp_path, tmp_path / "none") == float("inf")
