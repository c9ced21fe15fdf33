"""The synthetic corpus is reproducible and contains exactly what its truth file says."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import phonenumbers
import pytest
from stdnum import luhn, verhoeff
from stdnum.gb import nhs
from stdnum.us import ssn

from tests.scripts.conftest import ROWS, Corpus, read


def test_equal_arguments_give_equal_bytes(make: Callable[..., Corpus]) -> None:
    first, second, other = make(300), make(300), make(300, "--seed", "1")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes() != other[0].read_bytes()


def test_a_longer_corpus_begins_with_the_shorter_one(make: Callable[..., Corpus], corpus: Corpus) -> None:
    assert corpus[0].read_bytes().startswith(make(200)[0].read_bytes())


def test_what_is_planted_stands_where_the_truth_says(corpus: Corpus, script: Callable[[str], ModuleType]) -> None:
    rows, truth = read(corpus)
    assert len(rows) == ROWS
    assert all(rows[line["row"]][line["column"]][line["start"] : line["end"]] == line["text"] for line in truth)
    assert {line["kind"] for line in truth} == {*script("synthetic.corpus").RATES, "clean"}
    assert not re.search("[\ue000-\ue002]|@it|@full|[{}]", corpus[0].read_text(encoding="utf-8"))


def test_clean_rows_are_told_in_full_and_hold_nothing_else(corpus: Corpus) -> None:
    rows, truth = read(corpus)
    kinds: dict[int, set[str]] = defaultdict(set)
    for line in truth:
        kinds[line["row"]].add(line["kind"])
    clean = [line for line in truth if line["kind"] == "clean"]
    assert len(clean) > ROWS
    assert all(kinds[line["row"]] == {"clean"} for line in clean)
    assert all(line["text"] == rows[line["row"]][line["column"]] == " ".join(line["text"].split()) for line in clean)
    text = " ".join(line["text"] for line in clean)
    assert all(value in text for value in (" mg twice a day", " mmHg", " g/dl", "150000-450000 /cmm", "WBC "))
    assert "@" not in text


def test_nothing_is_planted_in_a_clean_corpus(make: Callable[..., Corpus]) -> None:
    rows, truth = read(make(300, "--clean"))
    assert [line["text"] for line in truth] == [row[column] for row in rows for column in ("input", "output")]
    assert {line["kind"] for line in truth} == {"clean"}


def test_questions_that_are_alike_are_as_alike_as_is_said(corpus: Corpus, script: Callable[[str], ModuleType]) -> None:
    rows, truth = read(corpus)
    tool = script("synthetic.shingles")
    near = Counter(line["row"] for line in truth if line["kind"] == "near_duplicate")
    chained = 0
    for line in (line for line in truth if "of" in line):
        of, question = rows[line["of"]], rows[line["row"]]["input"]
        assert line["of"] < line["row"]
        if line["kind"] in ("duplicate", "same_question"):
            assert question == of["input"]
            assert (rows[line["row"]]["output"] == of["output"]) == (line["kind"] == "duplicate")
            continue
        low, high = (0.80, 0.95) if line["kind"] == "near_duplicate" else (0.60, 0.78)
        assert low < line["jaccard"] < high
        assert tool.compute_jaccard(tool.make_shingles(question), tool.make_shingles(of["input"])) == pytest.approx(
            line["jaccard"], abs=1e-6
        )
        assert low < tool.compute_jaccard(tool.make_shingles(question, ""), tool.make_shingles(of["input"], "")) < high
        chained += line["of"] in near
    assert chained


def test_no_questions_are_alike_but_those_planted(corpus: Corpus, script: Callable[[str], ModuleType]) -> None:
    rows, truth = read(corpus)
    of = {line["row"]: line["of"] for line in truth if "of" in line}

    def first(row: int) -> int:
        return first(of[row]) if row in of else row

    kept = [number for number, row in enumerate(rows) if row["input"].strip()]
    found = script("synthetic.search").find_similar_across(
        [rows[at]["input"] for at in kept], np.arange(len(kept)), 0.6
    )
    assert len(found) > 50
    assert all(first(kept[one]) == first(kept[other]) for one, other, _ in found)


def test_numbers_are_valid(corpus: Corpus) -> None:
    texts: dict[str, list[str]] = defaultdict(list)
    for line in read(corpus)[1]:
        texts[line["kind"]].append(line["text"])
    bare = {kind: [re.sub(r"\W", "", text) for text in found] for kind, found in texts.items()}
    assert all(map(luhn.is_valid, bare["card"]))
    assert all(map(verhoeff.is_valid, bare["aadhaar"]))
    assert all(map(nhs.is_valid, bare["nhs"]))
    assert all(map(ssn.is_valid, bare["ssn"]))
    assert all(re.fullmatch("[A-Z]{2}[0-9]{6}[A-D]", text) for text in bare["nino"])
    for text in texts["phone"]:
        text = re.sub("^(00|(?=91[0-9]{10}$))", "+", text)
        regions = ("US", "GB", "IN", "AU")
        assert any(phonenumbers.is_valid_number(phonenumbers.parse(text, region)) for region in regions), text


def test_planted_names_stand_alone(corpus: Corpus) -> None:
    rows, truth = read(corpus)
    names = [line for line in truth if line["kind"].startswith("name")]
    assert {len(line["text"].split()) for line in names} == {1, 2}
    for line in names:
        cell = rows[line["row"]][line["column"]]
        rest = f"{cell[: line['start']]}|{cell[line['end'] :]}".lower()
        words = {word.lower() for word in re.findall(r"\w{2,}", line["text"])}
        assert not words & set(re.findall(r"\w+", rest)), (line["text"], cell)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("glued", r"\w+[.?][A-Z]\w*\W*"),
        ("html", r"&\w+;|</?\w+( /)?>"),
        ("mojibake", r".*[â€ÃÂ].*"),
        ("advertising", r".* online (for further help )?-->  ?https://[\w./-]*example[\w./-]*"),
        ("cut", r".*(…|\.\.\.)|\w{3}"),
        ("double_space", "  "),
        ("outer_space", r"\s+"),
        ("blank", " +"),
        ("missing", ""),
        ("chat_doctor", "Chat Doctor"),
        ("short", r"\S+( \S+){0,3}"),
        ("zero_width", r"[\u200b\u200c\u200d\u2060\ufeff]"),
    ],
)
def test_dirt_has_its_shape(corpus: Corpus, kind: str, shape: str) -> None:
    found = [line["text"] for line in read(corpus)[1] if line["kind"] == kind]
    assert found
    assert all(re.fullmatch(shape, text) for text in found), found[:5]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rows", "0"], "--rows is 0."),
        (["--seed", "-1"], "--seed is -1."),
        (["--truth", "same.csv"], "--output and --truth name the same file."),
        (["--tokenizer", "nowhere/at/all"], "nowhere/at/all"),
        (["--output", "."], "--output . is a folder."),
    ],
)
def test_wrong_options_are_told_in_a_line(
    script: Callable[[str], ModuleType],
    options: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    usual = ["--rows", "5", "--output", "same.csv", "--truth", "truth.jsonl", "--tokenizer", "."]
    assert script("make_corpus").main([*usual, *options]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
