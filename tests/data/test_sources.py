"""All table formats give the same rows; an error names the file and how to fix it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.pipeline import prepare
from lightning_med.data.sample import PATH as SAMPLE
from lightning_med.data.sources import table_files
from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.source import Source
from lightning_med.data.sources.source_files import find_files, name_files
from lightning_med.data.sources.source_reader import read_frames
from lightning_med.utils.errors import InputError
from tests.written_tables import SUFFIXES, write_records

ROWS = [
    ("My tongue hurts, badly.", 'Rinse. "Salt" helps.'),
    ("NA was ticked.", "None of it."),
    ("I cough.\nAnd sneeze.", "Drink tea."),
]


def write_table(path: Path, rows: list[tuple[str, str]] = ROWS, names: tuple[str, str] = ("input", "output")) -> Path:
    """Writes rows in the format of the path's suffix."""
    return write_records(path, rows, names)


def frame_of(path: Path | str, question: str = "input", answer: str = "output", **others: str) -> pd.DataFrame:
    """Reads all rows of a source."""
    source, bad = Source(str(path), question, answer, **others), BadRows()
    return pd.concat([frame for file in find_files(source.path) for frame in read_frames(source, file, bad)])


def texts(source: Path | str, question: str = "input", answer: str = "output") -> list[tuple[str, str]]:
    frame = frame_of(source, question, answer)
    return list(zip(frame["question"], frame["answer"], strict=True))


def refusal(source: Path | str, question: str = "input", answer: str = "output") -> InputError:
    with pytest.raises(InputError) as caught:
        frame_of(source, question, answer)
    assert "\n" not in caught.value.what
    assert caught.value.hint
    return caught.value


def refused_preparation(source: Path | str, cache: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        prepare(DialogueDataModule(str(source), "train", 300).recipe, str(cache))
    return caught.value


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_table_formats_give_the_same_rows(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"notes{suffix}")
    frame = frame_of(path)
    assert list(frame.columns) == ["question", "answer", "row"]
    assert list(zip(frame["question"], frame["answer"], strict=True)) == ROWS
    assert frame["row"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_columns_may_be_named_and_the_rest_is_ignored(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"notes{suffix}", names=("question", "reply"))
    assert texts(path, "question", "reply") == ROWS
    swapped = write_table(tmp_path / f"swapped{suffix}", names=("answer", "question"))
    assert texts(swapped, "answer", "question") == ROWS


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_are_counted_through_from_chunk_to_chunk(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_files, "CHUNK", 4)
    rows = [(f"question {number}", f"answer {number}") for number in range(10)]
    path = write_table(tmp_path / f"many{suffix}", rows)
    frames = list(read_frames(Source(str(path), "input", "output"), path, BadRows()))
    assert [len(frame) for frame in frames] == [4, 4, 2]
    whole = pd.concat(frames)
    assert whole["row"].tolist() == list(range(10))
    assert list(zip(whole["question"], whole["answer"], strict=True)) == rows


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl"])
def test_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"notes{suffix}")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert texts(path) == ROWS


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_csv_of_any_system(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(ending.join(["input,output", "I cough.,Drink tea.", '"NA, or so",Nonesuch', ""]).encode())
    assert texts(path) == [("I cough.", "Drink tea."), ("NA, or so", "Nonesuch")]


def test_suffix_in_capitals(tmp_path: Path) -> None:
    assert texts(write_table(tmp_path / "NOTES.CSV")) == ROWS


def test_null_and_missing_keys_of_json_are_null(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text('{"input": null, "output": "a"}\n\n{"output": "b"}\n{"input": "c", "output": "d"}\n')
    frame = frame_of(path)
    assert frame["question"].isna().tolist() == [True, True, False]


def test_parquet_dictionary_columns_are_text(tmp_path: Path) -> None:
    columns = {
        name: pa.array([row[i] for row in ROWS]).dictionary_encode() for i, name in enumerate(("input", "output"))
    }
    pq.write_table(pa.table(columns), tmp_path / "notes.parquet")
    assert texts(tmp_path / "notes.parquet") == ROWS


def test_folder_is_read_through_in_the_order_of_its_names(tmp_path: Path) -> None:
    for name in ("b.csv", "a.jsonl", "deep/c.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_table(tmp_path / name, [(f"question of {name}", "answer")])
    (tmp_path / "notes.txt").write_text("not a table")
    frame = frame_of(tmp_path)
    assert frame["question"].tolist() == [f"question of {name}" for name in ("a.jsonl", "b.csv", "deep/c.parquet")]
    assert frame["row"].tolist() == [0, 0, 0]


def test_files_of_one_name_are_told_apart_without_their_whole_path() -> None:
    files = [Path("/home/me/2023/a.csv"), Path("/home/me/2024/a.csv"), Path("/home/me/b.csv")]
    assert name_files(files) == ["2023/a.csv", "2024/a.csv", "b.csv"]
    files = [Path(f"/set/{name}") for name in ("en/test/0.csv", "de/test/0.csv", "en/train/0.csv", "1.csv")]
    assert name_files(files) == ["en/test/0.csv", "de/test/0.csv", "train/0.csv", "1.csv"]


def test_order_of_files_is_not_that_of_the_disk(tmp_path: Path) -> None:
    for number in (7, 2, 9, 4, 11, 0, 5, 10, 1, 8, 3, 6):
        (tmp_path / f"{number:02}.csv").write_text("input,output\na,b\n")
    names = [f"{number:02}.csv" for number in range(12)]
    assert [path.name for path in find_files(str(tmp_path))] == names
    assert [path.name for path in find_files(f"{tmp_path}/*.csv")] == names


def test_glob_takes_the_tables_it_matches(tmp_path: Path) -> None:
    for name in ("2023.csv", "2024.csv", "old.csv", "2025.txt"):
        (tmp_path / name).write_text("input,output\na,b\n")
    assert [path.name for path in find_files(f"{tmp_path}/20*")] == ["2023.csv", "2024.csv"]


def test_sample_is_embedded() -> None:
    assert find_files("sample") == [SAMPLE]
    assert len(texts("sample")) >= 2_000


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_table(tmp_path / "notes.csv")
    assert texts("~/notes.csv") == ROWS


# What is refused, and how


def test_missing_file_says_what_a_source_may_be(tmp_path: Path) -> None:
    error = refusal(tmp_path / "nothing.csv")
    assert f"{tmp_path / 'nothing.csv'}: no such file" in error.what
    assert "kaggle:OWNER/NAME" in error.hint


def test_unknown_suffix_lists_the_known(tmp_path: Path) -> None:
    (tmp_path / "notes.docx").write_text("")
    error = refusal(tmp_path / "notes.docx")
    assert "notes.docx" in error.what
    assert ".parquet" in error.hint


def test_folder_without_tables(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    error = refusal(tmp_path)
    assert f"{tmp_path} holds no table" in error.what
    assert ".csv" in error.hint


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_wrong_columns_are_answered_with_those_there(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"notes{suffix}", names=("Input", "reply"))
    error = refusal(path)
    assert str(path) in error.what
    assert "no column 'input'" in error.what
    assert "Input, reply" in error.what
    assert error.hint == "Name yours: --data.question_column Input --data.answer_column reply"
    error = refusal(path, "Input")
    assert "no column 'output'" in error.what
    assert "--data.answer_column" in error.hint
    assert "lightning-med respond --input FILE" in error.hint  # questions to answer have none


def test_wrong_column_with_nothing_like_it(tmp_path: Path) -> None:
    error = refusal(write_table(tmp_path / "notes.csv", names=("x", "y")))
    assert error.hint == "Name yours: --data.question_column NAME --data.answer_column NAME"


def test_a_title_above_the_header_is_recognized(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("Letters of 2024,\nquestion,answer\nI cough.,Rest.\n", encoding="utf-8")
    assert "first row" in refusal(path).hint
    assert "first row" not in refusal(write_table(path, names=("x", "y"))).hint
    assert "first row" not in refusal(write_table(tmp_path / "notes.jsonl", [("a", "b")], names=("x", "x"))).hint


@pytest.mark.parametrize("columns", [("question_column", "answer_column"), ("answer_column", "group_column")])
def test_one_column_cannot_be_two(columns: tuple[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        DialogueDataModule("notes.csv", **dict.fromkeys(columns, "text"))
    assert "'text'" in caught.value.what
    assert caught.value.hint


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".parquet"])
def test_empty_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"notes{suffix}"
    path.write_bytes(b"")
    assert str(path) in refusal(path).what


@pytest.mark.parametrize(("name", "text"), [("a.csv", "input,output\n"), ("a.jsonl", ""), ("a.json", "[]")])
def test_table_without_rows(tmp_path: Path, cache: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    error = refused_preparation(tmp_path / name, cache)
    assert str(tmp_path / name) in error.what
    assert "no row" in error.what
    assert error.hint


def test_table_with_nothing_usable_says_why(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "a.csv").write_text("input,output\n ,answer\nquestion,\n")
    error = refused_preparation(tmp_path / "a.csv", cache)
    assert "2 rows" in error.what
    assert "1 missing" in str(error)
    assert "1 blank" in str(error)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl"])
def test_bytes_that_are_not_utf8(tmp_path: Path, suffix: str) -> None:
    path = write_table(tmp_path / f"notes{suffix}", [("I cough.", "Rest."), ("My café was cold.", "Go home.")])
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin1"))
    error = refusal(path)
    assert str(path) in error.what
    assert "UTF-8" in error.what
    assert ("0xe9" if suffix == ".json" else "row 1") in error.what
    assert "iconv -f windows-1252" in error.hint  # as Excel writes: in latin1 its quotes would be control characters


def test_bytes_that_are_not_utf8_far_down(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(b"input,output\n" + b"question,answer\n" * 60_000 + b"caf\xe9,answer\n")
    assert "row 60000" in refusal(path).what


def test_malformed_jsonl_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text('{"input": "a", "output": "b"}\n\n{"input": "a", "output"\n')
    error = refusal(path)
    assert f"{path}, line 3" in error.what
    path.write_text('{"input": "a", "output": "b"}\n["a", "b"]\n')
    assert f"{path}, line 2 (row 1): not a JSON object" in refusal(path).what


def test_malformed_json_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    path.write_text('[\n{"input": "a", "output": "b"}\n{"input": "c", "output": "d"}\n]')
    error = refusal(path)
    assert f"{path}, line 3" in error.what
    assert ".jsonl" in error.hint


@pytest.mark.parametrize("text", ['{"input": "a", "output": "b"}', '["a", "b"]', '"a"'])
def test_json_that_is_no_list_of_objects(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.json"
    path.write_text(text)
    error = refusal(path)
    assert f"{path} is not a list of objects" in error.what
    assert '"input"' in error.hint


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_truncated_parquet(tmp_path: Path, kept: float) -> None:
    path = write_table(tmp_path / "notes.parquet", ROWS * 200)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    error = refusal(path)
    assert str(path) in error.what
    assert error.hint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("number.jsonl", b'{"input": "a", "output": 1}\n'),
        ("list.json", b'[{"input": "a", "output": ["b"]}]'),
    ],
)
def test_cells_that_are_not_text(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    error = refusal(tmp_path / name)
    assert str(tmp_path / name) in error.what
    assert "row 0" in error.what
    assert "not text" in error.what


def test_parquet_cells_that_are_not_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"input": [b"a"], "output": ["b"]}), tmp_path / "bytes.parquet")
    error = refusal(tmp_path / "bytes.parquet")
    assert "row 0: a cell holds a bytes, not text" in error.what


def test_quote_that_never_closes(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text('input,output\na,b\n"never closes,c\nd,e\n')
    error = refusal(path)
    assert f"{path}, line 3: a quote opens here and does not close" in error.what
    assert "quote" in error.hint


@pytest.mark.parametrize(
    "text",
    [
        "input,output\nI cough.,Rest.\nI ache.,Rest, drink tea, and sleep.\n",
        "input,output\nI ache.,Rest, drink tea.\nI cough.,Rest.\n",
        "input,output\nI ache.,Rest, drink tea.\nI cough.,Rest, sleep.\n",
    ],
)
def test_unquoted_comma_is_refused_rather_than_the_answer_cut(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.csv"
    path.write_text(text)
    error = refusal(path)
    assert str(path) in error.what
    assert "quotes" in error.hint


def test_half_of_a_surrogate_pair_in_json_is_a_bad_row(tmp_path: Path) -> None:
    """JSON can spell what UTF-8 cannot hold; scrapers that cut texts at a length leave such halves."""
    path = tmp_path / "notes.jsonl"
    whole, half = '"Rest \\ud83d\\ude00"', '"It hurts \\ud83d"'
    path.write_text(f'{{"input": "a", "output": {whole}}}\n{{"input": {half}, "output": {whole}}}\n')
    assert f"{path}, line 2 (row 1): half of a character" in refusal(path).what
    source, bad = Source(str(path), "input", "output"), BadRows("drop")
    (frame,) = read_frames(source, path, bad)
    assert frame["answer"].tolist() == ["Rest \N{GRINNING FACE}"]
    assert bad.count == 1


HIDDEN = (
    ".ipynb_checkpoints/notes-checkpoint.csv",
    ".git/a.jsonl",
    ".notes.csv",
    "._notes.csv",
    ".~lock.notes.csv",
    "~$notes.csv",
    "__MACOSX/notes.csv",
    "__MACOSX/deep/notes.parquet",
    "deep/.hidden/notes.tsv",
    "data_report/sample.csv",
    "lightning_logs/notes/version_0/export/rows.jsonl",
)


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_files_are_left_out_of_folders_and_globs(tmp_path: Path, name: str) -> None:
    """Notebooks and archives keep copies with rows that the owner has removed."""
    folder = tmp_path / ".mine"  # where the folder itself lies does not matter
    for place in (name, "notes.csv", "_notes.csv"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        write_table(folder / place)
    for source in (folder, f"{folder}/*", f"{folder}/**", f"{folder}/**/*.*", f"{tmp_path}/.m*/*.csv"):
        assert [path.relative_to(folder) for path in find_files(str(source))] == [Path("_notes.csv"), Path("notes.csv")]
    assert find_files(str(folder / name)) == [folder / name]
    assert folder / name in find_files(f"{(folder / name).parent}/{Path(name).name[:2]}*")


def test_folder_of_hidden_files_alone_says_so(tmp_path: Path) -> None:
    write_table(tmp_path / ".notes.csv")
    error = refusal(tmp_path)
    assert "holds no table" in error.what
    assert "hidden files, data_report and lightning_logs are left out" in error.hint


def test_folder_that_is_named_like_a_table(tmp_path: Path, consultations: Callable[..., Path]) -> None:
    consultations(name="tables/a.csv")
    (tmp_path / "tables" / "b.csv").mkdir()
    assert [path.name for path in find_files(str(tmp_path / "tables" / "*.csv"))] == ["a.csv"]


@pytest.mark.parametrize("cell", ["1" * 5000, "[" * 100_000])
def test_json_line_that_python_cannot_hold(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_text(f'{{"input": "a", "output": "b"}}\n{{"input": {cell}, "output": "b"}}\n', encoding="utf-8")
    assert "line 2" in refusal(path).what


def test_semicolons_are_recognized(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("id;question;reply\n1;a;b\n", encoding="utf-8")
    assert "separated by ';'" in refusal(path, "question", "reply").what
