"""No question on two sides, shares as asked, and the same side for the same seed on any machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.data.splits.group_split import SPLITS, assign_splits, place_groups
from lightning_med.data.splits.row_groups import Groups, group_rows
from lightning_med.data.splits.shingle_sets import ShingleSets
from lightning_med.data.splits.word_hashes import WordHashes
from lightning_med.utils.errors import InputError

ROOT = Path(__file__).parents[2]
QUESTIONS = [f"My knee number {number} hurts, what now?" for number in range(5_000)]


def groups_of(questions: list[str], patients: list[int] | None = None, answers: list[int] | None = None) -> Groups:
    words = WordHashes.from_texts(pa.array(questions, pa.large_string()))
    nothing = [0] * len(questions)
    columns = [np.array(column or nothing, np.uint64) for column in (patients, answers)]
    return group_rows(words.compute_keys(), *columns, ShingleSets.from_sizes(*words.hash_shingles()))


def assigned(questions: list[str], seed: int, test: float, validation: float) -> tuple[np.ndarray, int]:
    keys = WordHashes.from_texts(pa.array(questions, pa.large_string())).compute_keys()
    return assign_splits(groups_of(questions), keys, seed, test, validation)


def assign(questions: list[str], seed: int, test: float, validation: float) -> np.ndarray:
    return assigned(questions, seed, test, validation)[0]


def shares(sides: np.ndarray) -> dict[str, float]:
    return {name: float((sides == index).mean()) for index, name in enumerate(SPLITS)}


def test_sides_are_those_of_earlier_releases() -> None:
    digests = [sha256(assign(QUESTIONS[:rows], 42, 0.1, 0.05).tobytes()).hexdigest()[:16] for rows in (5_000, 7)]
    assert digests == ["8f4d56e1faf1097d", "8ec40a1880c332c4"]


@pytest.mark.parametrize(("test", "validation"), [(0.1, 0.05), (0.3, 0.2), (0.05, 0.0), (0.0, 0.1), (0.0, 0.0)])
def test_shares_are_as_asked(test: float, validation: float) -> None:
    found = shares(assign(QUESTIONS, 42, test, validation))
    wanted = {"train": 1 - test - validation, "validation": validation, "test": test}
    assert found == pytest.approx(wanted, abs=0.02)
    assert all(found[name] == 0 for name, share in wanted.items() if share == 0)


def test_spellings_of_one_question_share_a_side() -> None:
    spelled = ["My knee hurts!", "my KNEE hurts", "  My knee\n hurts...", "My knee, hurts?"]
    for seed in range(20):
        sides = assign(spelled + QUESTIONS[:50], seed, 0.3, 0.3)
        assert len(set(sides[: len(spelled)])) == 1


@given(
    st.text(st.sampled_from("abcXYZ09é"), min_size=1), st.text(st.sampled_from(" .,;!?_-\n\t'\"")), st.integers(0, 3)
)
def test_case_and_punctuation_make_no_other_question(words: str, marks: str, seed: int) -> None:
    spelled = [f"{marks}{words}{marks}", words.upper(), words.lower(), words]
    keys = WordHashes.from_texts(pa.array(spelled, pa.large_string())).compute_keys()
    assert len(set(keys.tolist())) == 1
    assert 0 <= place_groups(keys, seed)[0] < 1


LONG = (
    "for three weeks I have had a dull pain in my left knee after running which gets worse on stairs and at night"
    " and neither rest nor ice has helped so I wonder whether I should see a doctor"
)


def test_nearly_equal_questions_share_a_group_and_others_do_not() -> None:
    found = groups_of([LONG, LONG.replace("dull", "sharp"), LONG.replace("night", "noon"), "I cough."])
    assert found.labels.tolist() == [0, 0, 0, 1]
    words = LONG.split()
    other = " ".join(word if place % 3 else "x" for place, word in enumerate(words))
    assert groups_of([LONG, other]).count == 2


def test_a_shared_long_answer_joins_similar_questions_only() -> None:
    half = " ".join(LONG.split()[:28])
    assert groups_of([LONG, half]).count == 2
    assert groups_of([LONG, half], answers=[7, 7]).count == 1
    assert groups_of([LONG, "I cough."], answers=[7, 7]).count == 2


def test_rows_of_one_patient_share_a_group() -> None:
    assert groups_of(["I cough.", "My ear hurts.", "My toe hurts."], patients=[5, 0, 5]).labels.tolist() == [0, 1, 0]


def test_a_row_added_later_moves_no_row_unless_it_joins_two_groups() -> None:
    one, other = LONG, LONG.replace("dull", "sharp").replace("night", "noon")
    bridge = LONG.replace("night", "noon")
    assert groups_of([one, other]).count == 2
    assert groups_of([one, other, bridge]).count == 1
    joined = 0
    for seed in range(60):
        before, _ = assigned([*QUESTIONS[:50], one, other], seed, 0.3, 0.2)
        after, moved = assigned([*QUESTIONS[:50], one, other, bridge], seed, 0.3, 0.2)
        assert np.array_equal(before[:50], after[:50])
        assert after[50] == after[51] == after[52] == max(before[50:])  # test before validation before train
        assert moved == int(before[50] != before[51])
        joined += moved
    assert joined


def test_more_rows_move_no_row() -> None:
    few = assign(QUESTIONS[:2_000], 42, 0.1, 0.05)
    more = assign(QUESTIONS, 42, 0.1, 0.05)
    assert np.array_equal(more[:2_000], few)


def test_order_of_rows_does_not_matter() -> None:
    forward = assign(QUESTIONS, 42, 0.1, 0.05)
    assert np.array_equal(assign(QUESTIONS[::-1], 42, 0.1, 0.05)[::-1], forward)


def test_larger_test_share_keeps_the_rows_it_had() -> None:
    small, large = (assign(QUESTIONS, 42, share, 0.0) == SPLITS.index("test") for share in (0.1, 0.2))
    assert large[small].all()


def test_seed_chooses_the_sides() -> None:
    one, other = (assign(QUESTIONS, seed, 0.1, 0.05) for seed in (1, 2))
    assert np.array_equal(one, assign(QUESTIONS, 1, 0.1, 0.05))
    assert not np.array_equal(one, other)
    both = ((one == SPLITS.index("test")) & (other == SPLITS.index("test"))).mean()
    assert both == pytest.approx(0.01, abs=0.008)


@pytest.mark.parametrize("seed", [0, -1, 2**40])
def test_any_seed_is_a_seed(seed: int) -> None:
    assert shares(assign(QUESTIONS, seed, 0.1, 0.05))["test"] == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_another_process_gives_the_same_sides(hash_seed: str) -> None:
    code = (
        "import json; from tests.data.test_splits import assign;"
        "questions = [f'My knee number {n} hurts, what now?' for n in range(500)];"
        "print(json.dumps(assign(questions, 42, 0.1, 0.05).tolist()))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert json.loads(done.stdout) == assign(QUESTIONS[:500], 42, 0.1, 0.05).tolist()


@pytest.mark.parametrize("rows", [3, 4, 7, 20, 60])
def test_small_tables_fill_every_side(rows: int) -> None:
    for seed in range(30):
        assert set(assign(QUESTIONS[:rows], seed, 0.1, 0.05)) == {0, 1, 2}


@pytest.mark.parametrize("rows", [1, 2])
def test_too_few_rows(rows: int) -> None:
    with pytest.raises(InputError) as caught:
        assign(QUESTIONS[:rows], 42, 0.1, 0.05)
    assert f"{rows} different question{'s' * (rows > 1)} after cleaning" in caught.value.what
    assert "Three" in caught.value.hint


def test_rows_of_one_question_are_one() -> None:
    with pytest.raises(InputError, match="1 different question "):
        assign(["I cough.", "i cough", "I COUGH!"], 42, 0.1, 0.05)


@pytest.mark.parametrize("rows", [1, 2, 50])
def test_all_rows_may_be_tested(rows: int) -> None:
    assert set(assign(QUESTIONS[:rows], 42, 1.0, 0.0)) == {SPLITS.index("test")}
    assert set(assign(QUESTIONS[:rows], 42, 0.0, 1.0)) == {SPLITS.index("validation")}


def test_two_rows_are_enough_for_two_sides() -> None:
    assert set(assign(QUESTIONS[:2], 42, 0.1, 0.0)) == {SPLITS.index("train"), SPLITS.index("test")}


def test_no_side_held_back_leaves_all_to_training() -> None:
    assert set(assign(QUESTIONS[:1], 42, 0.0, 0.0)) == {SPLITS.index("train")}
