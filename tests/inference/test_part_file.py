"""Files of rows that are written in any order and gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.inference.part_file import PartFile, check_unwritten, get_part_path, list_parts
from lightning_med.utils.errors import InputError, RunError

IDENTITY = {"model": "a1", "input": "b2"}
BATCHES = ((3, 0), (2,), (4, 1))  # keys in the order in which their rows come


def make_row(key: int) -> dict[str, Any]:
    return {"row": key, "answer": f"Grüße {key}\u2028 😀", "guard": {"dose": key}}


def write(output: Path, batches: tuple[tuple[int, ...], ...] = BATCHES, **options: Any) -> PartFile:
    """Adds batches that are not there yet."""
    part = PartFile(output, **{"identity": IDENTITY, **options})
    for keys in batches:
        if not part.written.issuperset(keys):
            part.append({key: make_row(key) for key in keys})
    return part


EXPECTED = "".join(json.dumps(make_row(key), ensure_ascii=False) + "\n" for key in range(5)).encode()


def test_rows_are_sorted_into_the_file_which_appears_complete(tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    part = write(output)
    assert [path.name for path in tmp_path.iterdir()] == [".rows.jsonl.part"]
    assert part.complete(5) == 5
    part.close()
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    assert output.read_bytes() == EXPECTED


def test_rows_may_be_sorted_by_what_they_hold(tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    write(output).complete(order=lambda key, row: -row["guard"]["dose"])
    assert [json.loads(line)["row"] for line in output.open(encoding="utf-8")] == [4, 3, 2, 1, 0]


@given(st.data())
def test_a_file_that_is_cut_anywhere_is_gone_on_with(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        output = Path(folder) / "rows.jsonl"
        write(output).close()
        whole = get_part_path(output).read_bytes()
        header = whole.index(b"\n") + 1
        cut = data.draw(st.sampled_from([0, *range(header, len(whole) + 1)]))
        tail = data.draw(st.sampled_from([b"", b"\0\0\0", b"\xff\n", b"[1]\n"]))
        get_part_path(output).write_bytes(whole[:cut] + (tail if cut else b""))
        part = write(output)
        assert len(part.written) == 5
        part.complete(5)
        assert output.read_bytes() == EXPECTED


@pytest.mark.parametrize("identity", [{**IDENTITY, "model": "c3"}, {"input": "b2"}], ids=["other", "missing"])
def test_rows_of_another_identity_are_refused_by_name(tmp_path: Path, identity: dict[str, str]) -> None:
    output = tmp_path / "rows.jsonl"
    write(output, identity=identity).close()
    before = get_part_path(output).read_bytes()
    with pytest.raises(InputError, match=r"another model: (c3|unknown) there, a1 here") as raised:
        PartFile(output, IDENTITY)
    assert "--overwrite" in raised.value.hint
    assert get_part_path(output).read_bytes() == before
    part = write(output, overwrite=True)
    assert part.complete(5) == 5
    assert output.read_bytes() == EXPECTED


def test_overwrite_goes_on_with_rows_of_the_same_identity(tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    output.write_text("complete\n")
    write(output, BATCHES[:1], overwrite=True).close()
    assert output.read_text() == "complete\n"
    part = PartFile(output, IDENTITY, overwrite=True)
    assert part.written == {0, 3}
    part.close()


def test_a_file_without_rows_is_no_hindrance_and_is_removed(tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    PartFile(output, IDENTITY).close()
    assert list(tmp_path.iterdir()) == []
    get_part_path(output).write_text(json.dumps({"model": "c3"}) + '\n[0, {"row"')
    part = PartFile(output, IDENTITY)
    assert part.written == set()
    part.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_that_name_that_is_not_ours_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    get_part_path(output).write_text("half of a download")
    with pytest.raises(InputError, match="unknown there"):
        PartFile(output, IDENTITY)
    assert get_part_path(output).read_text() == "half of a download"


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    first = write(output, BATCHES[:1])
    for options in ({}, {"identity": {"model": "c3"}, "overwrite": True}):
        with pytest.raises(InputError, match="another process"):
            write(output, **options)
    assert write(output, BATCHES[1:], rank=1).written == {0, 1, 2, 3, 4}
    first.close()


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_rows_of_all_processes_are_put_together_however_many_there_are_today(tmp_path: Path, ranks: int) -> None:
    output = tmp_path / "rows.jsonl"
    for rank in (0, 1):
        write(output, BATCHES[rank : rank + 1], rank=rank).close()
    parts = [PartFile(output, IDENTITY, rank=rank) for rank in range(ranks)]
    assert all(part.written == {0, 2, 3} for part in parts)
    parts[-1].append({key: make_row(key) for key in BATCHES[2]})
    parts[0].complete(5)
    for part in parts:
        part.close()
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    assert output.read_bytes() == EXPECTED


def test_missing_rows_are_an_error_and_nothing_is_lost(tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    part = write(output, BATCHES[:2])
    with pytest.raises(RunError, match="3 of 5 rows"):
        part.complete(5)
    part.close()
    assert not output.exists()
    assert list_parts(output) == [get_part_path(output)]


def test_a_complete_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    check_unwritten(output, overwrite=False)
    output.touch()
    check_unwritten(output, overwrite=True)
    with pytest.raises(InputError, match="already") as raised:
        check_unwritten(output, overwrite=False, option="--overwrite true")
    assert "--overwrite true" in raised.value.hint
    with pytest.raises(InputError, match="folder"):
        check_unwritten(tmp_path, overwrite=True)
