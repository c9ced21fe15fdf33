"""Near-duplicates are found exactly: all that comparing every pair with every other finds, and nothing more."""

from __future__ import annotations

import random
import unicodedata
from itertools import combinations, product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.data.splits import near_duplicates, shingle_index, shingle_sets
from lightning_med.data.splits.row_groups import label_components
from lightning_med.data.splits.shingle_index import ShingleIndex, find_near_duplicates
from lightning_med.data.splits.shingle_sets import ShingleSets, salt_sets
from lightning_med.data.splits.word_hashes import SHINGLE_WORDS, WordHashes

SPEECH = ("my", "knee", "hurts", "a", "lot", "now")
TALK = st.lists(st.sampled_from(SPEECH), min_size=1, max_size=9).map(" ".join)
WRITING = st.text(st.sampled_from(list("abAB é½²ﬁЖж.,!?'-_ \n\t\xa0\u3000हि5Ａ頭")), max_size=14)


def split(text: str) -> list[str]:
    """The words of a text, by the definition."""
    text = unicodedata.normalize("NFKC", text)
    bare = "".join(sign for sign in text.lower() if sign.isspace() or unicodedata.category(sign)[0] in "LMN")
    return bare.split() or text.split()


def shingled(text: str) -> set[tuple[str, ...]]:
    words = split(text)
    return {tuple(words[at : at + SHINGLE_WORDS]) for at in range(max(len(words) - SHINGLE_WORDS + 1, 1))}


def words_of(texts: list[str]) -> WordHashes:
    return WordHashes.from_texts(pa.array(texts, pa.large_string()))


def sets_of(texts: list[str]) -> ShingleSets:
    return ShingleSets.from_sizes(*words_of(texts).hash_shingles())


def members(sets: ShingleSets) -> list[set[int]]:
    ends = sets.starts + sets.sizes
    return [set(sets.values[start:end].tolist()) for start, end in zip(sets.starts, ends, strict=True)]


def compared(sets: list[set[int]], threshold: float) -> list[list[int]]:
    """All similar pairs, by comparing each with each."""
    return [
        [one, other]
        for one, other in combinations(range(len(sets)), 2)
        if len(sets[one] & sets[other]) >= threshold * len(sets[one] | sets[other])
    ]


def joined(count: int, pairs: list[list[int]]) -> list[int]:
    """The smallest number each is connected to, by merging one pair after another."""
    label = list(range(count))
    for one, other in pairs:
        low, high = sorted((label[one], label[other]))
        label = [low if own == high else own for own in label]
    return label


# ---------------------------------------------------------------------- words and shingles


@given(st.lists(st.one_of(WRITING, TALK), max_size=12))
def test_sets_are_those_of_the_definition(texts: list[str]) -> None:
    texts = [text if text.strip() else "so" for text in texts]
    sets = sets_of(texts)
    wanted = [shingled(text) for text in texts]
    found = members(sets)
    assert [len(own) for own in found] == [len(own) for own in wanted] == sets.sizes.tolist()
    for one, other in combinations(range(len(texts)), 2):
        assert len(found[one] & found[other]) == len(wanted[one] & wanted[other])


@given(st.lists(st.one_of(WRITING, TALK), max_size=12))
def test_sets_are_sorted_without_repetition(texts: list[str]) -> None:
    values, sizes = words_of(texts).hash_shingles()
    for own in np.split(values, np.cumsum(sizes)):
        assert (np.diff(own.astype(np.int64)) > 0).all()
        assert (own < 2**48).all()


@given(st.lists(st.one_of(WRITING, TALK), max_size=12))
def test_keys_are_equal_where_the_words_are(texts: list[str]) -> None:
    texts = [text if text.strip() else "so" for text in texts]
    keys = words_of(texts).compute_keys()
    assert (keys != 0).all()
    for one, other in combinations(range(len(texts)), 2):
        assert (keys[one] == keys[other]) == (split(texts[one]) == split(texts[other]))


@given(
    st.lists(st.text(st.sampled_from("abAB12éж"), min_size=1), min_size=1), st.sampled_from([" ", ", ", "!\n", " - "])
)
def test_case_and_punctuation_make_no_other_key(words: list[str], between: str) -> None:
    spelled = [" ".join(words), f" {between.join(words)}?!".upper(), between.join(words).lower(), "(" + " ".join(words)]
    assert len(set(words_of(spelled).compute_keys().tolist())) == 1


def test_texts_without_words_are_themselves() -> None:
    keys = words_of(["???", "!!!", " ??? ", "😀", "😀😀", "? !", "?!"]).compute_keys().tolist()
    assert keys[0] == keys[2]
    assert len(set(keys)) == 6


@given(st.lists(st.one_of(WRITING, TALK), max_size=12), st.integers(0, 12))
def test_chunking_changes_nothing(texts: list[str], cut: int) -> None:
    whole, parts = words_of(texts), [words_of(texts[:cut]), words_of(texts[cut:])]
    assert whole.compute_keys().tolist() == [key for part in parts for key in part.compute_keys().tolist()]
    for index in (0, 1):
        assert whole.hash_shingles()[index].tolist() == [
            value for part in parts for value in part.hash_shingles()[index].tolist()
        ]


def test_order_and_repetition_of_words_count() -> None:
    keys = words_of(
        ["my knee hurts", "hurts knee my", "my my knee hurts", "my knee", "knee my", "my", "myknee"]
    ).compute_keys()
    assert len(set(keys.tolist())) == 7


# ---------------------------------------------------------------------- pairs


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_pairs_are_those_that_comparing_all_finds(threshold: float) -> None:
    @given(st.lists(TALK, max_size=20))
    def check(texts: list[str]) -> None:
        sets = sets_of(texts)
        found = near_duplicates.find_similar_pairs(sets, threshold)
        assert (found.shape, found.dtype) == ((len(found), 2), np.int64)
        assert found.tolist() == compared(members(sets), threshold)

    check()


def random_sets(seed: int, count: int) -> ShingleSets:
    """Families of sets in which a few members differ, over hashes some of which many share."""
    source = random.Random(seed)
    common = [source.getrandbits(48) for _ in range(60)]
    found: list[list[int]] = []
    while len(found) < count:
        rare = [source.getrandbits(48) for _ in range(source.randint(1, 40))]
        base = rare + source.sample(common, source.randint(0, 20))
        for _ in range(source.randint(1, 5)):
            changed = set(source.sample(base, max(len(base) - source.choice((0, 0, 1, 2, 9)), 1)))
            found.append(sorted(changed | {source.getrandbits(48) for _ in range(source.choice((0, 0, 1, 3)))}))
    source.shuffle(found)
    values = np.array([value for own in found for value in own], dtype=np.uint64)
    return ShingleSets.from_sizes(values, np.array([len(own) for own in found]))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("small", [False, True])
def test_larger_tables(threshold: float, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if small:  # the limits that a few hundred texts do not reach
        for name, limit in {"BLOCK": 100, "_PENDING": 50, "_MAX_FREQUENCY": np.uint32(3)}.items():
            monkeypatch.setattr(near_duplicates, name, limit)
        monkeypatch.setattr(shingle_sets, "BLOCK", 100)
    sets = random_sets(seed=int(threshold * 10), count=500)
    found = near_duplicates.find_similar_pairs(sets, threshold).tolist()
    assert found == compared(members(sets), threshold)
    assert len(found) > 20


@pytest.mark.parametrize("shift", [0, 40])
def test_hashes_that_agree_in_most_bits_are_told_apart(shift: int) -> None:
    values = (np.arange(8) + (1 << 7) << shift).astype(np.uint64)
    sets = ShingleSets.from_sizes(np.concatenate([values[:4], values[:4], values[4:]]), np.array([4, 4, 4]))
    assert near_duplicates.find_similar_pairs(sets, 0.5).tolist() == [[0, 1]]


@pytest.mark.parametrize("crowd", [3, 8])
def test_a_crowd_stays_together(crowd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More texts that resemble each other than are all compared: those compared connect them."""
    monkeypatch.setattr(near_duplicates, "CROWD", crowd)
    opening = "my left knee hurts since I fell from a chair last week and now it is swollen and red and warm in case"
    texts = [f"{opening} {number}" for number in range(60)] + ["I cough.", "I ache."]
    pairs = near_duplicates.find_similar_pairs(sets_of(texts), 0.8)
    assert len(pairs) < 60 * 59 / 2
    assert label_components(len(texts), pairs).tolist() == [0] * 60 + [60, 61]


@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_no_texts(threshold: float) -> None:
    for texts in ([], ["I cough."]):
        assert near_duplicates.find_similar_pairs(sets_of(texts), threshold).shape == (0, 2)
    assert words_of([]).compute_keys().tolist() == []
    assert near_duplicates.find_similar_pairs(
        sets_of(["I cough."]).select(np.array([], dtype=np.int64)), threshold
    ).shape == (
        0,
        2,
    )


@given(st.lists(TALK, min_size=1, max_size=12), st.data())
def test_selected_sets_are_the_same(texts: list[str], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(texts) - 1), unique=True))
    sets = sets_of(texts).select(np.array(chosen, dtype=np.int64))
    assert members(sets) == [members(sets_of(texts))[index] for index in chosen]
    assert near_duplicates.find_similar_pairs(sets, 0.5).tolist() == compared(members(sets), 0.5)


@given(st.lists(st.tuples(TALK, st.integers(0, 2)), max_size=16))
def test_salted_sets_resemble_each_other_under_one_salt_alone(rows: list[tuple[str, int]]) -> None:
    texts, salts = [text for text, _ in rows], [salt for _, salt in rows]
    salted = salt_sets(sets_of(texts), np.array(salts, dtype=np.uint64))
    wanted = [[one, other] for one, other in compared(members(sets_of(texts)), 0.5) if salts[one] == salts[other]]
    assert near_duplicates.find_similar_pairs(salted, 0.5).tolist() == wanted


# ---------------------------------------------------------------------- pairs between two collections


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_pairs_between_two_collections_are_those_that_comparing_all_finds(threshold: float) -> None:
    @given(st.lists(st.one_of(TALK, st.just(" ")), max_size=20), st.lists(TALK, max_size=20))
    def check(ours: list[str], theirs: list[str]) -> None:
        wanted = [
            (one, other)
            for one, other in product(range(len(ours)), range(len(theirs)))
            if ours[one].strip()
            and len(shingled(ours[one]) & shingled(theirs[other]))
            >= threshold * len(shingled(ours[one]) | shingled(theirs[other]))
        ]
        assert find_near_duplicates(ours, theirs, threshold) == wanted

    check()


@pytest.mark.parametrize("threshold", [0.3, 0.8])
@pytest.mark.parametrize("small", [False, True])
def test_an_index_of_a_larger_table(threshold: float, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if small:
        for name, limit in {"BLOCK": 50, "_MAX_CANDIDATES": 20}.items():
            monkeypatch.setattr(shingle_index, name, limit)
    sets = random_sets(seed=3, count=500)
    ours, theirs = sets.select(np.arange(300)), sets.select(np.arange(300, 500))
    wanted = [[one, other - 300] for one, other in compared(members(sets), threshold) if one < 300 <= other]
    assert ShingleIndex(theirs, threshold).find(ours).tolist() == wanted
    assert len(wanted) > 20


def test_an_equal_text_is_found_in_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its shingles is in many texts, some of them smaller and some larger."""
    monkeypatch.setattr(shingle_index, "CROWD", 8)
    source = random.Random(0)
    chosen = [sorted(source.sample(range(40), 10 + number % 20)) for number in range(200)]
    values = np.array([value for own in chosen for value in own], dtype=np.uint64)
    sets = ShingleSets.from_sizes(values, np.array([len(own) for own in chosen]))
    pairs = {(one, other) for one, other in ShingleIndex(sets, 0.3).find(sets).tolist()}
    assert {(number, number) for number in range(200)} <= pairs
    assert len(pairs) < len(compared(members(sets), 0.3))


@pytest.mark.parametrize("texts", [[], [" ", ""], ["I cough."]])
def test_an_index_without_texts(texts: list[str]) -> None:
    assert find_near_duplicates(texts, []) == find_near_duplicates([], texts) == []
    assert find_near_duplicates(texts, ["", "  "]) == find_near_duplicates(["", "  "], texts) == []


# ---------------------------------------------------------------------- components


@given(st.integers(1, 30).flatmap(lambda count: st.tuples(
    st.just(count), st.lists(st.lists(st.integers(0, count - 1), min_size=2, max_size=2), max_size=40)
)))  # fmt: skip
def test_components(table: tuple[int, list[list[int]]]) -> None:
    count, pairs = table
    assert label_components(count, np.array(pairs, dtype=np.int64).reshape(-1, 2)).tolist() == joined(count, pairs)


def test_a_long_chain_is_one_component() -> None:
    order = np.random.default_rng(0).permutation(2_000)
    assert not label_components(2_000, np.stack([order[:-1], order[1:]], axis=1)).any()
    assert label_components(0, np.empty((0, 2), np.int64)).tolist() == []


def test_hashes_are_the_same_on_every_machine() -> None:
    """Groups take their sides by them."""
    assert words_of(["My knee hurts!"]).compute_keys().tolist() == [15038895732588463713]
