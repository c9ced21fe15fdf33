"""Rules drop and mend rows, and count what they did."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.data.cleaning import Cleaner, mend_whitespace

SPACES = st.text(st.sampled_from(list(" \t\n\r\x0b\x0c\x1c\x85\xa0\u2003\u2028ab.é")), max_size=40)


def frame(*rows: tuple[str | None, str | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["question", "answer"]).assign(source="notes.csv", row=range(len(rows)))


def kept(cleaned: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(cleaned["question"], cleaned["answer"], strict=True))


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("  I   cough. ", "I cough."),
        ("a\tb\u00a0c\u2003d", "a b c d"),
        ("a\r\nb\n\n\n c \rd", "a\nb\nc\nd"),
        (" \n\t ", ""),
        ("", ""),
        ("I cough.", "I cough."),
    ],
)
def test_mended_whitespace(text: str, mended: str) -> None:
    assert mend_whitespace(text) == mended


@given(st.one_of(st.text(), SPACES))
def test_mending_changes_whitespace_alone(text: str) -> None:
    mended = mend_whitespace(text)
    assert mend_whitespace(mended) == mended
    assert "  " not in mended
    assert "\n\n" not in mended
    assert mended == mended.strip()
    assert set(mended) & {"\t", "\r", "\xa0", "\x0b", "\u2028"} == set()
    assert "".join(mended.split()) == "".join(text.split())
    assert len(mended.split()) == len(text.split())


def test_half_of_a_surrogate_pair_is_replaced() -> None:
    """A command line that is not UTF-8 and JSON cut inside an emoji hold such halves, which no tokenizer takes."""
    assert mend_whitespace("It hurts \udcff  here\ud83d") == "It hurts \ufffd here\ufffd"


def test_each_rule_counts_its_rows() -> None:
    cleaner = Cleaner()
    cleaned = cleaner(
        frame(
            ("I cough.", "Rest."),
            (None, "Rest."),
            ("I ache.", None),
            ("  ", "Rest."),
            ("I ache.", "\n"),
            ("I  sneeze. ", "Rest."),
            ("I cough.", "Rest. "),
            ("I cough.", "Drink tea."),
        )
    )
    assert kept(cleaned) == [("I cough.", "Rest."), ("I sneeze.", "Rest."), ("I cough.", "Drink tea.")]
    assert cleaned["row"].tolist() == [0, 5, 7]
    assert cleaned["source"].unique().tolist() == ["notes.csv"]
    assert cleaner.counts == {"missing": 2, "blank": 2, "duplicate": 1, "whitespace": 4}


def test_clean_rows_pass_and_every_count_is_there() -> None:
    cleaner = Cleaner()
    rows = [("I cough.", "Rest."), ("I ache.", "Sleep.")]
    assert kept(cleaner(frame(*rows))) == rows
    assert cleaner.counts == {"missing": 0, "blank": 0, "duplicate": 0, "whitespace": 0}


def test_duplicates_are_found_across_frames() -> None:
    cleaner = Cleaner()
    assert len(cleaner(frame(("I cough.", "Rest."), ("I cough.", "Sleep.")))) == 2
    assert kept(cleaner(frame(("I ache.", "Rest."), (" I cough.", "Rest.")))) == [("I ache.", "Rest.")]
    assert cleaner.counts["duplicate"] == 1
    assert len(Cleaner()(frame(("I cough.", "Rest.")))) == 1


def test_duplicates_need_the_same_seam_between_question_and_answer() -> None:
    assert len(Cleaner()(frame(("ab", "c"), ("a", "bc"), ("abc", "c"), ("ab", "cc")))) == 4


def test_empty_frame() -> None:
    cleaner = Cleaner()
    assert cleaner(frame()).empty
    assert sum(cleaner.counts.values()) == 0


@given(st.lists(st.tuples(*[st.one_of(st.none(), SPACES)] * 2), max_size=12))
def test_rows_out_are_rows_in_less_the_dropped(rows: list[tuple[str | None, str | None]]) -> None:
    cleaner = Cleaner()
    cleaned = cleaner(frame(*rows).astype({"question": object, "answer": object}))
    dropped = sum(cleaner.counts[rule] for rule in ("missing", "blank", "duplicate"))
    assert len(cleaned) == len(rows) - dropped
    assert len(set(kept(cleaned))) == len(cleaned)
    assert all(mend_whitespace(text) == text != "" for pair in kept(cleaned) for text in pair)
