"""Frames are cleaned, the rows of each rule counted, and examples contain no private data."""

from __future__ import annotations

import functools
import itertools
import operator
from collections import Counter
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_med.data.cleaning.cleaner import ALWAYS, EXAMPLES, Cleaned, clean, resolve_rules
from lightning_med.data.cleaning.cleaning_rules import RULES
from lightning_med.data.preparation.clean_chunk import TEXTS, Chunk, Steps, clean_chunk
from lightning_med.privacy.mask import find_private
from lightning_med.utils.errors import InputError

DEFAULTS = resolve_rules({})
BARE = resolve_rules({name: name in (*ALWAYS, "duplicate") for name in DEFAULTS})
REST = "Please rest well and drink enough."


def frame(*rows: tuple[str | None, str | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["question", "answer"], dtype=object).assign(row=range(len(rows)))


def conversations(*answers: list[str | None]) -> pd.DataFrame:
    """Conversations, by their answers."""
    rows = [
        (f"And {turn}?", answer, row, turn) for row, texts in enumerate(answers) for turn, answer in enumerate(texts)
    ]
    found = pd.DataFrame(rows, columns=["question", "answer", "row", "turn"], dtype=object)
    return found.assign(turns=found.groupby("row")["turn"].transform("size"))


def cleaned(rows: pd.DataFrame, mask: bool = True, **settings: bool) -> Cleaned:
    return clean(rows, resolve_rules(settings), mask)


def kept(done: Cleaned) -> list[tuple[str, str]]:
    return list(zip(done.frame["question"], done.frame["answer"], strict=True))


# ---------------------------------------------------------------------- switches


def test_defaults_are_the_rules_own() -> None:
    assert {**{rule.name: rule.default for rule in RULES}, "duplicate": True} == DEFAULTS
    assert [name for name, on in DEFAULTS.items() if not on] == ["cut_answer", "lost_words", "unsafe_advice"]


def test_settings_change_the_defaults() -> None:
    assert resolve_rules({"html": False, "cut_answer": True, "blank": True}) == {
        **DEFAULTS,
        "html": False,
        "cut_answer": True,
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blanc": True}, "no cleaning rule 'blanc'"),
        ({"html": 1}, "html: 1 is neither"),
        ({"html": "false"}, "html: 'false' is neither"),
        ({"html": None}, "html: None is neither"),
        ({"missing": False}, "'missing' cannot be switched off"),
        ({"blank": False}, "'blank' cannot be switched off"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve_rules(settings)


# ---------------------------------------------------------------------- rows


def test_each_rule_counts_its_rows() -> None:
    done = cleaned(
        frame(
            ("I cough.", REST),
            (None, REST),
            ("I ache.", None),
            ("  ", REST),
            ("I ache.", "\n\u200b"),
            ("I  sneeze. ", f"{REST} "),
            ("I cough.", "Rest."),
            ("I don t know.", f"<b>{REST}</b>Take&nbsp;it."),
            ("My cafÃ© hurts.", f"{REST}Then sleep. Consult a doctor online --> <link>"),
            ("I ache.", f"Welcome to Chat Doctor. {REST}"),
        )
    )
    assert kept(done) == [
        ("I cough.", REST),
        ("I sneeze.", REST),
        ("I don't know.", f"{REST} Take it."),
        ("My café hurts.", f"{REST} Then sleep."),
        ("I ache.", f"Welcome. {REST}"),
    ]
    assert done.frame["row"].tolist() == [0, 5, 7, 8, 9]
    assert done.counts == {
        **dict.fromkeys((rule.name for rule in RULES), 1),
        **{
            "missing": 2,
            "blank": 2,
            "glued_sentences": 2,
            "whitespace": 4,
            "cut_answer": 0,
            "lost_words": 0,
            "unsafe_advice": 0,
            "not_learned": 0,
        },
    }


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("cut_answer", "Please rest well and drink the"),
        ("lost_words", "Take an anti-inflammatory Chat Doctor. Then rest."),
        ("lost_words", "Take an anti-inflammChatDoctor. Then rest well."),
    ],
)
def test_rules_that_are_off_count_and_drop_nothing(name: str, answer: str) -> None:
    rows = frame(("I cough.", REST), ("I ache.", answer))
    off, on = cleaned(rows), cleaned(rows, **{name: True})
    assert off.counts[name] == on.counts[name] == 1
    assert (len(off.frame), len(on.frame)) == (2, 1)
    assert off.examples[name][0]["before"] == on.examples[name][0]["before"] == answer


def test_all_rules_off_leaves_text_as_it_is() -> None:
    rows = [(" I  don t<br>cough.Now ", "Chat Doctor --> <link>"), (" ", "Rest."), (None, "Rest."), ("So?", "No")]
    done = clean(frame(*rows), BARE, mask=False)
    assert kept(done) == [rows[0], rows[3]]
    assert {name for name, count in done.counts.items() if count} == {"missing", "blank", "too_short", "lost_words"}


def test_private_data_is_replaced_and_counted() -> None:
    done = cleaned(frame(("Write to ann@example.org please.", f"{REST} Call +1 415 555 2671.")))
    assert kept(done) == [("Write to [EMAIL] please.", f"{REST} Call [PHONE].")]
    assert done.private == {"EMAIL": 1, "PHONE": 1}
    raw = cleaned(frame(("Write to ann@example.org please.", REST)), mask=False)
    assert "ann@example.org" in kept(raw)[0][0]
    assert not raw.private


@pytest.mark.parametrize("rows", [frame(), conversations(), frame((None, None))])
def test_no_rows(rows: pd.DataFrame) -> None:
    done = cleaned(rows)
    assert done.frame.empty
    assert sum(done.counts.values()) == len(rows)


TEXTS_LIKE = st.one_of(
    st.none(), st.text(st.sampled_from(list(" \t\n\r\x0b\x1c\x85\xa0\u2003\u200bab.é<>&;")), max_size=20)
)


@given(st.lists(st.tuples(TEXTS_LIKE, TEXTS_LIKE), max_size=12), st.booleans())
def test_rows_out_are_rows_in_less_the_dropped(rows: list[tuple[str | None, str | None]], all_on: bool) -> None:
    rules = dict.fromkeys(DEFAULTS, True) if all_on else BARE
    done = clean(frame(*rows), rules, mask=False)
    dropped = sum(done.counts[rule.name] for rule in RULES if rule.effect == "drops" and rules[rule.name])
    assert len(done.frame) == len(rows) - dropped
    assert all(text.strip() for pair in kept(done) for text in pair)
    if not all_on:
        assert kept(done) == [rows[row] for row in done.frame["row"]]


# ---------------------------------------------------------------------- examples


def test_an_example_shows_place_and_change() -> None:
    done = cleaned(frame(("I cough.", REST), ("a " * 100 + "I don t know. " + "b " * 100, REST)))
    (example,) = done.examples["apostrophes"]
    assert (example["row"], example["column"]) == (1, "question")
    assert "don t know" in str(example["before"])
    assert "don't know" in str(example["after"])
    assert len(str(example["before"])) <= 120


def test_at_most_three_examples_a_rule() -> None:
    done = cleaned(frame(*[("I  cough. ", "I  don t.")] * 10), cut_answer=True)
    assert {name: len(found) for name, found in done.examples.items()} == dict.fromkeys(
        ("whitespace", "apostrophes", "too_short"), EXAMPLES
    ) | {name: 0 for name in done.examples if name not in ("whitespace", "apostrophes", "too_short")}
    assert done.counts["whitespace"] == 10


PRIVATE = (
    "ann@example.org",
    "+1 415 555 2671",
    "https://ann.example.org/me",
    "4111 1111 1111 1111",
    "an\u200bn@example.org",
)
PRIVATE += "ann&#64;example.org", "ann@<b>example</b>.org"


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("secret", PRIVATE)
def test_examples_hold_no_private_data(secret: str, mask: bool) -> None:
    text = f"I  don t know.<br>Write to {secret} or call.Then the"
    done = cleaned(frame((text, text), (text, f"{secret} and")), mask=mask, cut_answer=True)
    shown = [str(example[key]) for found in done.examples.values() for example in found for key in ("before", "after")]
    for one in shown:
        assert not find_private(one), one
        assert secret not in one
        assert "ann" not in one
        assert "2671" not in one


# ---------------------------------------------------------------------- conversations


def test_a_dropped_exchange_ends_its_conversation() -> None:
    done = cleaned(conversations([REST, " ", REST], [REST, REST], [None, REST, REST], [REST, None], ["\n", REST]))
    assert list(zip(done.frame["row"], done.frame["turn"], strict=True)) == [(0, 0), (1, 0), (1, 1), (3, 0)]
    assert (done.counts["missing"], done.counts["blank"], done.shortened) == (1, 1, 2)


def test_a_rule_that_is_off_ends_no_conversation() -> None:
    rows = conversations([REST, "Please take the", REST])
    assert len(cleaned(rows).frame) == 3
    on = cleaned(rows, cut_answer=True)
    assert (len(on.frame), on.counts["cut_answer"], on.shortened) == (1, 0, 1)


def test_short_replies_belong_to_conversations() -> None:
    done = cleaned(conversations(["Yes.", "No.", "Sleep."], ["Yes."]))
    assert done.frame["row"].tolist() == [0, 0, 0]
    assert done.counts["too_short"] == 1


# ---------------------------------------------------------------------- chunks

LONG = " ".join(f"word{number}" for number in range(31))
STEPS = Steps(DEFAULTS, mask=True, near=True)


def described(chunk: Chunk) -> dict[str, Any]:
    """The values of each row of a chunk."""
    hashes, sizes = chunk.shingles
    ends = sizes.cumsum()
    return {
        "texts": chunk.texts.to_pylist(),
        "turns": chunk.turns.tolist(),
        "rows": chunk.rows.tolist(),
        "digests": chunk.digests.tolist(),
        "questions": chunk.questions.tolist(),
        "patients": chunk.patients.tolist(),
        "answers": chunk.answers.tolist(),
        "shingles": [hashes[end - size : end].tolist() for end, size in zip(ends, sizes, strict=True)],
    }


def table() -> pd.DataFrame:
    rows = frame(
        ("My knee hurts  badly now.", LONG),
        ("my KNEE hurts badly, now!", f"{LONG.upper()}."),
        ("It itches.", LONG.removesuffix(" word30")),
        (None, REST),
        ("My knee hurts badly now.", LONG),
        ("Call ann@example.org.", REST),
        ("It itches.", "No."),
        ("ab", "c d e f g"),
        ("a", "bc d e f g"),
    )
    return rows.assign(group=["7", None, "8", "7", "7", None, None, "0", None])


def test_a_chunk_describes_its_rows() -> None:
    chunk = clean_chunk(table(), STEPS)
    assert chunk.texts.schema == TEXTS
    assert chunk.rows_in == 9
    assert chunk.rows.tolist() == [0, 1, 2, 4, 5, 7, 8]
    assert chunk.turns.tolist() == [1] * 7
    assert chunk.texts["question"].to_pylist()[4] == "Call [EMAIL]."
    keys, patients, answers, digests = chunk.questions, chunk.patients, chunk.answers, chunk.digests.tolist()
    assert keys[0] == keys[1] == keys[3] != keys[2]
    assert digests[0] == digests[3] != digests[1]
    assert digests[5] != digests[6]  # where the question ends counts
    assert patients[0] == patients[3] != patients[2]
    assert (patients == 0).tolist() == [False, True, False, False, True, False, True]
    assert answers[0] == answers[1] == answers[3] != 0
    assert answers[2] == answers[4] == 0  # under 31 words
    assert chunk.counts["missing"] == chunk.counts["too_short"] == 1
    assert chunk.private == {"EMAIL": 1}
    assert chunk.openings["word0 word1 word2 word3 word4"] == 3


def test_without_near_duplicates_no_shingles() -> None:
    hashes, sizes = clean_chunk(table(), Steps(DEFAULTS, mask=False, near=False)).shingles
    assert (len(hashes), sizes.tolist()) == (0, [0] * 7)


def test_a_chunk_of_conversations() -> None:
    rows = conversations([REST, REST], ["Yes.", None], [None], [REST]).drop(columns="turns").assign(group="7")
    chunk = clean_chunk(rows, STEPS)
    assert (chunk.rows_in, chunk.rows.tolist(), chunk.turns.tolist()) == (4, [0, 1, 3], [2, 1, 1])
    assert chunk.texts.num_rows == 4
    assert chunk.shortened == 1
    assert len(set(chunk.patients.tolist())) == 1
    alone = clean_chunk(frame(("And 0?", REST)), STEPS)
    assert chunk.questions[0] == alone.questions[0]  # grouped by how it begins
    assert chunk.digests[0].tolist() != alone.digests[0].tolist()  # equal only where every turn is


@pytest.mark.parametrize("rows", [frame(), frame((None, REST)), conversations().drop(columns="turns")])
def test_a_chunk_of_nothing(rows: pd.DataFrame) -> None:
    chunk = clean_chunk(rows, STEPS)
    assert chunk.texts.num_rows == len(chunk.rows) == len(chunk.questions) == len(chunk.answers) == 0
    assert chunk.digests.shape == (0, 2)


ROWS = st.lists(
    st.lists(
        st.sampled_from([REST, "Yes.", None, " ", LONG, "my  knee hurts.Take ann@example.org", "and the"]), max_size=3
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=20)
@given(ROWS, st.sets(st.integers(1, 7)), st.booleans())
def test_chunking_changes_nothing(answers: list[list[str | None]], cuts: set[int], turned: bool) -> None:
    if turned:
        whole = conversations(*(texts or [None] for texts in answers)).drop(columns="turns")
    else:
        whole = frame(*((texts[0], texts[-1]) for texts in answers if texts))
    whole = whole.assign(group=[str(row % 3) for row in whole["row"]])
    edges = [0, *sorted(cuts), 99]
    parts = [whole[(whole["row"] >= one) & (whole["row"] < other)] for one, other in itertools.pairwise(edges)]
    chunks = [clean_chunk(part, STEPS) for part in parts]
    single = clean_chunk(whole, STEPS)
    one = described(single)
    assert one == {
        name: functools.reduce(operator.iadd, (described(chunk)[name] for chunk in chunks), []) for name in one
    }
    for name in ("counts", "private", "openings"):
        assert +getattr(single, name) == +sum((getattr(chunk, name) for chunk in chunks), Counter())
    assert single.shortened == sum(chunk.shortened for chunk in chunks)
    assert single.rows_in == sum(chunk.rows_in for chunk in chunks)
