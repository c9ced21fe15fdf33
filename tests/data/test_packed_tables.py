"""Compressed tables and archives of them are read as the tables themselves, and never guessed where they are broken."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.cache import source_digests
from lightning_med.data.preparation.cache.source_digests import SourceDigests
from lightning_med.data.preparation.pipeline import prepare
from lightning_med.data.sources import table_streams
from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.source_files import find_files, name_files
from lightning_med.data.sources.table_files import read_records
from lightning_med.data.sources.table_places import COMPRESSIONS, LINES
from lightning_med.data.splits.own_splits import find_file_splits
from lightning_med.utils.errors import InputError
from tests.conftest import consultation
from tests.data.test_sources import ROWS, frame_of, refusal, texts
from tests.data.test_table_files import GOOD, TEXTS, rows_of
from tests.written_tables import write_archive, write_records, write_workbook

TABLE = b"input,output\nI cough.,Drink tea.\nI ache.,Rest.\n"
READ = [("I cough.", "Drink tea."), ("I ache.", "Rest.")]


def pack(folder: Path, names: list[str], rows: list[tuple[str, str]] = ROWS) -> Path:
    """Writes an archive of tables in the formats of their names."""
    files = {}
    for name in names:
        path = write_records(folder / f"member-{Path(name).name}", rows)
        files[name] = path.read_bytes()
        path.unlink()
    return write_archive(folder / "data.zip", files)


# As the tables themselves


@pytest.mark.parametrize("suffix", [form + end for form in LINES for end in COMPRESSIONS])
def test_compressed_tables_give_the_same_rows(tmp_path: Path, suffix: str) -> None:
    path = write_records(tmp_path / f"notes{suffix}", ROWS)
    assert texts(path) == texts(tmp_path) == texts(f"{tmp_path}/*{suffix}") == ROWS


@settings(max_examples=20)  # files are slow
@given(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_any_text_is_read_as_from_the_plain_table(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("table")
    plain = rows_of(write_records(folder / "a.csv", rows))[0]
    assert rows_of(write_records(folder / "b.csv.gz", rows))[0] == plain
    assert rows_of(pack(folder, ["a.csv"], rows))[0] == plain


@pytest.mark.parametrize("name", ["a.csv", "A.TSV", "deep/er/a.json", "a.jsonl", "a.parquet", "a.xlsx", "a.csv.gz"])
def test_a_member_of_every_format_is_read(tmp_path: Path, name: str) -> None:
    archive = pack(tmp_path, [name])
    assert texts(archive) == ROWS
    assert texts(f"{archive}/{name}") == ROWS


def test_what_an_archive_holds_is_what_a_folder_would(tmp_path: Path) -> None:
    """In the order of their names, without hidden files, metadata of a data set, or other archives."""
    hidden = [".a.csv", "__MACOSX/._b.csv", "x/.ipynb_checkpoints/b.csv", "~$c.csv", "dataset-metadata.json"]
    files = dict.fromkeys(("x/b.csv", "a.csv", "x/y/a.csv", *hidden), TABLE)
    archive = write_archive(tmp_path / "data.zip", {**files, "notes.txt": b"", "more.zip": b"", "../out.csv": TABLE})
    names = ["a.csv", "x/b.csv", "x/y/a.csv"]
    assert [path.relative_to(archive).as_posix() for path in find_files(str(archive))] == names
    assert [path.relative_to(archive).as_posix() for path in find_files(f"{archive}/x")] == names[1:]
    assert [path.name for path in find_files(f"{archive}/.a.csv")] == [".a.csv"]
    assert name_files(find_files(str(archive))) == ["data.zip/a.csv", "b.csv", "y/a.csv"]


def test_splits_of_an_archive_are_recognised_as_those_of_a_folder(tmp_path: Path) -> None:
    files = [(0, file) for file in find_files(str(pack(tmp_path, ["set/test.csv", "set/train.csv"])))]
    assert find_file_splits(files, ["data.zip"], [None]) == ("test", "train")
    files = []
    for number, name in enumerate(("train.zip", "test.zip")):
        files += [(number, file) for file in find_files(str(write_archive(tmp_path / name, {"notes.csv": TABLE})))]
    assert find_file_splits(files, ["train.zip", "test.zip"], [None, None]) == ("train", "test")


def test_archives_are_opened_where_they_are_asked_for(tmp_path: Path) -> None:
    """An archive in a folder is often a copy of what is beside it."""
    archive = write_archive(tmp_path / "2023.zip", {"a.csv": TABLE})
    error = refusal(tmp_path)
    assert f"{tmp_path} holds no table" in error.what
    assert error.hint.endswith(f"Archives in a folder are not opened; name one: {archive}")
    write_archive(tmp_path / "2024.zip", {"a.csv": TABLE})
    assert texts(f"{tmp_path}/*.zip") == READ * 2
    (tmp_path / "own.csv").write_bytes(TABLE)
    assert texts(tmp_path) == texts(f"{tmp_path}/*") == READ


def test_a_sheet_inside_an_archive_can_be_named(tmp_path: Path) -> None:
    book = write_workbook(tmp_path / "a.xlsx", {"One": [("input", "output"), *ROWS], "Two": [("x",)]})
    archive = write_archive(tmp_path / "data.zip", {"clinic/a.xlsx": book.read_bytes()})
    assert texts(f"{archive}/clinic/a.xlsx/One") == ROWS
    assert refusal(archive).hint == f"Name one: {archive}/clinic/a.xlsx/One"


def test_rows_are_counted_in_each_member(tmp_path: Path) -> None:
    frame = frame_of(pack(tmp_path, ["a.csv", "b.jsonl"]))
    assert frame["row"].tolist() == [0, 1, 2, 0, 1, 2]


# What is refused, and how


def test_a_fault_names_archive_and_member(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "data.zip", {"x/train.csv": TABLE + b"one cell\n"})
    assert f"{archive}/x/train.csv, line 4 (row 2): 1 cell" in refusal(archive).what
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"input": "a", "output": "b"}\n{"input"\n'))
    assert f"{path}, line 2 (row 1)" in refusal(path).what
    path = tmp_path / "b.csv.gz"
    path.write_bytes(gzip.compress("input,output\n".encode("utf-16")))
    assert refusal(path).hint == "Unpack and convert it, for instance: iconv -f utf-16 -t utf-8 b.csv > utf8-b.csv"


@pytest.mark.parametrize("end", COMPRESSIONS)
def test_broken_compression(tmp_path: Path, end: str) -> None:
    path = write_records(tmp_path / f"a.csv{end}", GOOD * 2_000)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], TABLE, whole[:20] + b"damage" + whole[26:]):
        path.write_bytes(content)
        error = refusal(path)
        assert f"{path} is damaged or not a compressed file" in error.what
        assert error.hint == "Fetch it again."


@pytest.mark.parametrize("content", [b"", TABLE, b"PK\x03\x04 but no more"])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.zip"
    path.write_bytes(content)
    assert f"{path} is damaged or not a zip archive" in refusal(path).what


def damage_content(content: bytearray) -> None:
    content[50:60] = bytes(10)


def name_an_unknown_compression(content: bytearray) -> None:
    directory = content.index(b"PK\x01\x02")
    content[8:10] = content[directory + 10 : directory + 12] = (97).to_bytes(2, "little")


@pytest.mark.parametrize("damage", [damage_content, name_an_unknown_compression])
def test_a_damaged_member_is_named(tmp_path: Path, damage: Callable[[bytearray], None]) -> None:
    archive = write_archive(tmp_path / "data.zip", {"a.csv": TABLE * 50})
    content = bytearray(archive.read_bytes())
    damage(content)
    archive.write_bytes(content)
    assert f"{archive}/a.csv is damaged" in refusal(archive).what


def test_names_of_an_archive_that_are_no_text(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "data.zip", {"\u00e9.csv": TABLE})
    archive.write_bytes(archive.read_bytes().replace("\u00e9".encode(), b"\xff\xfe"))
    error = refusal(archive)
    assert f"{archive} is damaged or not a zip archive" in error.what


@pytest.mark.parametrize("other", ["./a.csv", "a.csv", "/a.csv"])
def test_two_members_of_one_name_are_refused(tmp_path: Path, other: str) -> None:
    """One of them would be lost."""
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as opened, warnings.catch_warnings(action="ignore"):
        opened.writestr("a.csv", TABLE)
        opened.writestr(other, TABLE)
    assert refusal(archive).what == f"{archive} holds two files a.csv."


def test_an_archive_that_is_a_pointer(tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "Git LFS pointer" in refusal(tmp_path / "data.zip").what


def test_an_encrypted_archive(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "data.zip", {"a.csv": TABLE})
    content = bytearray(archive.read_bytes())
    content[6] |= 1  # the flag of the member itself, then that of the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    error = refusal(archive)
    assert error.what == f"{archive}/a.csv is encrypted."
    assert "password" in error.hint


def test_an_archive_without_a_table_says_what_it_holds(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "data.zip", {"README.md": b"", "inner.zip": b"", ".a.csv": TABLE})
    error = refusal(archive)
    assert f"{archive} holds no table. The archive has: .a.csv, README.md, inner.zip." in error.what
    assert ".csv" in error.hint
    assert "holds no table" in refusal(archive / "b.csv").what
    assert "no such file" in refusal(write_records(tmp_path / "a.csv", ROWS) / "b.csv").what


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.xz", "data.zip"])
def test_what_is_made_to_fill_the_memory_is_stopped(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line without an end would be held whole."""
    monkeypatch.setattr(table_streams, "_ALWAYS_READ", 1 << 20)
    path = tmp_path / name
    if name == "data.zip":
        write_archive(path, {"a.jsonl": b"x" * (1 << 24)})
    else:
        write_records(tmp_path / name, [("x" * (1 << 24), "y")])
    tracemalloc.start()
    error = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "unpacks to over 200 times its size" in error.what
    assert "unpack it first" in error.hint
    assert peak < 1 << 24


def test_an_archive_is_unpacked_while_it_is_read(tmp_path: Path) -> None:
    table = b"input,output\n" + b"I cough a lot.,Drink some tea.\n" * 50_000
    archive = write_archive(tmp_path / "data.zip", {"a.csv": table})
    tracemalloc.start()
    count = sum(1 for _ in read_records(archive / "a.csv", {"question_column": "input"}, BadRows(), set()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 50_000
    assert peak < len(table) / 4


def test_an_archives_directory_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else many members take time by the square of their number."""
    archive, opened = pack(tmp_path, [f"{number}.csv" for number in range(9)]), []
    real = zipfile.ZipFile
    monkeypatch.setattr(zipfile, "ZipFile", lambda *given: opened.append(given) or real(*given))
    assert len(texts(archive)) == 9 * len(ROWS)
    assert len(opened) == 1
    pack(tmp_path, ["a.csv"])  # another content is seen
    assert texts(archive) == ROWS


# Prepared


def test_an_archive_is_prepared_as_its_folder(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name, start, count in (("train.csv", 0, 60), ("test.csv", 60, 12)):
        write_records(folder / name, [consultation(number) for number in range(start, start + count)])
    archive = write_archive(tmp_path / "set.zip", {path.name: path.read_bytes() for path in folder.iterdir()})
    plain, packed = (prepare(DialogueDataModule(str(path), "train", 400).recipe) for path in (folder, archive))
    for figure in ("splits", "own_splits", "sources"):
        assert packed.report[figure] == plain.report[figure]
    for split in ("train", "test"):
        rows = [pd.read_parquet(one.folder / f"{split}.parquet") for one in (plain, packed)]
        assert rows[0][["row", "question", "answer"]].equals(rows[1][["row", "question", "answer"]])
        assert rows[0]["source"].astype(str).equals(rows[1]["source"].astype(str))


def test_copies_and_codebooks_beside_tables_are_not_read(cache: Path, tmp_path: Path) -> None:
    """A folder that held them was read without them before their formats were known."""
    folder = tmp_path / "set"
    (folder / "more").mkdir(parents=True)
    rows = [consultation(number) for number in range(30)]
    for name in ("data.csv.gz", "data.csv", "more/codebook.xlsx", "other.jsonl.xz"):
        write_records(folder / name, rows)
    archive = write_archive(
        tmp_path / "set.zip", {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.*")}
    )
    for place in (str(folder), f"{folder}/**", str(archive)):
        assert [file.name for file in find_files(place)] == ["data.csv", "other.jsonl.xz"]
    for name in ("data.csv.gz", "more/codebook.xlsx"):
        assert find_files(f"{folder}/{name}") == [folder / name]
    assert len(find_files(f"{folder}/*.gz")) == len(find_files(f"{folder}/more")) == 1
    (note,) = prepare(DialogueDataModule(str(folder), "train", 400).recipe).report["notes"]
    assert note.endswith(f"{folder}/data.csv.gz, {folder}/more/codebook.xlsx.")


def test_an_archive_is_read_once_and_its_change_is_noticed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack(tmp_path, ["train.csv", "more.csv"], [consultation(number) for number in range(30)])
    os.utime(archive, (1_600_000_000, 1_600_000_000))
    first = prepare(DialogueDataModule(str(archive), "train", 400).recipe)
    with monkeypatch.context() as patch:
        patch.setattr(source_digests, "_read", None)
        patch.setattr(table_streams, "open_table", None)
        again = prepare(DialogueDataModule(str(archive), "train", 400).recipe)
    assert (again.cached, again.fingerprint) == (True, first.fingerprint)
    pack(tmp_path, ["train.csv", "more.csv"], [consultation(number) for number in range(31)])
    other = prepare(DialogueDataModule(str(archive), "train", 400).recipe)
    assert not other.cached
    assert other.fingerprint != first.fingerprint


def test_a_member_that_is_named_beside_its_archive_is_named_twice(cache: Path, tmp_path: Path) -> None:
    archive = pack(tmp_path, ["a.csv", "b.csv"])
    with pytest.raises(InputError, match=r"data\.zip/a\.csv is named twice"):
        prepare(DialogueDataModule([str(archive), f"{archive}/a.csv"], "train", 400).recipe)


def test_tables_of_one_archive_are_other_data(cache: Path, tmp_path: Path) -> None:
    """Their names are the same, and so is the archive's content."""
    files = {}
    for folder, start in (("en", 0), ("de", 30)):
        path = write_records(tmp_path / "notes.csv", [consultation(number) for number in range(start, start + 30)])
        files[f"{folder}/notes.csv"] = path.read_bytes()
    archive = write_archive(tmp_path / "data.zip", files)
    recipes = [DialogueDataModule(f"{archive}/{folder}", "train", 400).recipe for folder in ("en", "de")]
    found = [prepare(recipe) for recipe in recipes]
    assert [one.cached for one in found] == [False, False]
    assert found[0].report["content"] != found[1].report["content"]
    questions = [set(pd.read_parquet(one.folder / "train.parquet")["question"]) for one in found]
    assert not questions[0] & questions[1]
    assert prepare(recipes[0]).fingerprint == found[0].fingerprint
    ours = write_records(tmp_path / "ours.csv", [consultation(number) for number in range(20, 70)])
    reports = [
        prepare(DialogueDataModule(str(ours), "train", 400, check_against=f"{archive}/{folder}").recipe).report
        for folder in ("en", "de")
    ]
    assert [report["checked_against"]["left_out"] for report in reports] == [10, 30]


def test_sheets_of_one_name_are_other_data(tmp_path: Path) -> None:
    book = write_workbook(tmp_path / "c.xlsx", {"P": [("input", "output"), *ROWS], "Q": [("x",)]}).read_bytes()
    archive = write_archive(tmp_path / "data.zip", {"2023/c.xlsx": book, "2024/c.xlsx": book})
    places = [f"{archive}/2023/c.xlsx/P", f"{archive}/2024/c.xlsx/P", f"{archive}/2024/c.xlsx/Q", tmp_path / "c.xlsx/P"]
    digests = [SourceDigests(tmp_path, [(0, Path(place))]).compute()[0] for place in places]
    assert len(set(digests)) == len(places)


def test_a_plain_file_keeps_its_digest(tmp_path: Path) -> None:
    """Those that checkpoints of an earlier release hold."""
    path = tmp_path / "a.csv"
    path.write_bytes(TABLE)
    expected = sha256(json.dumps([[0, "a.csv", sha256(sha256(TABLE).hexdigest().encode()).hexdigest()]]).encode())
    assert SourceDigests(tmp_path, [(0, path)]).compute()[0] == expected.digest()


def test_tables_to_check_against_may_be_packed(cache: Path, tmp_path: Path) -> None:
    rows = [consultation(number) for number in range(40)]
    ours = write_records(tmp_path / "ours.csv.gz", rows)
    public = pack(tmp_path, ["set/public.xlsx"], rows[:4])
    report = prepare(DialogueDataModule(str(ours), "train", 400, check_against=str(public)).recipe).report
    assert report["checked_against"]["left_out"] == 4
