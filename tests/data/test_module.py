"""The data module serves every training row once an epoch, in an order that two instances share."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from lightning_med import DialogueDataModule
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.tokenization.consultation import ANSWER, QUESTION
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.conftest import consultation


@pytest.fixture
def data(cache: Path, consultations: Callable[..., Path]) -> Callable[..., DialogueDataModule]:
    """A data module over 120 consultations, ready for use."""

    def make(**changes: Any) -> DialogueDataModule:
        settings: dict[str, Any] = {"tokenizer": "train", "vocab_size": 400, "max_length": 128, "batch_tokens": 512}
        module = DialogueDataModule(str(consultations(120)), **{**settings, **changes})
        module.prepare_data()
        module.setup("fit")
        return module

    return make


def training(
    module: DialogueDataModule,
    epoch: int = 0,
    window: int = 1,
    restarting_at: int | None = None,
    rank: int = 0,
    ranks: int = 1,
) -> list[Any]:
    """The batches of an epoch, as a trainer in that epoch is given them."""
    done = restarting_at or 0
    counts = [SimpleNamespace(ready=done, started=done, processed=done, completed=done) for _ in range(2)]
    progress = SimpleNamespace(is_last_batch=False, current=counts[0], total=counts[1])
    module.trainer = SimpleNamespace(  # type: ignore[assignment]
        current_epoch=epoch,
        accumulate_grad_batches=window,
        reload_dataloaders_every_n_epochs=0,
        limit_train_batches=1.0,
        limit_val_batches=1.0,
        overfit_batches=0.0,
        val_check_interval=1.0,
        check_val_every_n_epoch=1,
        callbacks=[],
        global_rank=rank,
        world_size=ranks,
        _accelerator_connector=SimpleNamespace(use_distributed_sampler=True),
        fit_loop=SimpleNamespace(
            restarting=restarting_at is not None,
            epoch_progress=SimpleNamespace(current=SimpleNamespace(ready=epoch + 1, processed=epoch)),
            epoch_loop=SimpleNamespace(batch_progress=progress),
        ),
    )
    return list(module.train_dataloader())


def rows_of(batches: Iterable[dict[str, Any]]) -> list[int]:
    return [row for batch in batches for row in batch["rows"]]


def test_every_training_row_once_an_epoch(data: Callable[..., DialogueDataModule]) -> None:
    module = data()
    rows = len(module.store("train"))
    assert rows > 80
    for epoch in range(3):
        batches = training(module, epoch)
        assert sorted(rows_of(batches)) == list(range(rows))
        assert all(batch["input_ids"].numel() <= 512 for batch in batches)


def test_order_differs_between_epochs_and_not_between_instances(data: Callable[..., DialogueDataModule]) -> None:
    one, other = data(), data()
    orders = [rows_of(training(one, epoch)) for epoch in range(3)]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert [rows_of(training(other, epoch)) for epoch in (2, 0)] == [orders[2], orders[0]]
    assert rows_of(training(one, 0)) == orders[0]  # not by what was served before
    assert [row for rows in one.plan_epoch(1) for row in rows] == orders[1]


def test_seed_decides_the_order_and_the_split(data: Callable[..., DialogueDataModule]) -> None:
    assert rows_of(training(data(seed=1))) != rows_of(training(data(seed=2)))


def test_resumed_epoch_goes_on_where_it_stopped(data: Callable[..., DialogueDataModule]) -> None:
    module = data()
    whole = training(module, epoch=1, window=2)
    rest = training(module, epoch=1, window=2, restarting_at=4)
    assert [batch["rows"] for batch in rest] == [batch["rows"] for batch in whole[4:]]
    for name in ("window_answers", "window_questions"):
        assert [batch[name] for batch in rest] == [batch[name] for batch in whole[4:]]


@pytest.mark.parametrize("settings", [{}, {"tokens_per_step": 1024}])
def test_epoch_resumed_in_mid_step_does_the_step_anew(
    data: Callable[..., DialogueDataModule], settings: dict[str, Any]
) -> None:
    """What it had accumulated is gone."""
    window = 1 if settings else 3
    whole, module = training(data(**settings), epoch=1, window=window), data(**settings)
    assert module.step_size.tokens_per_step is None or module.window == 3
    rest = training(module, epoch=1, window=window, restarting_at=5)
    assert [batch["rows"] for batch in rest] == [batch["rows"] for batch in whole[3:]]
    progress = module.trainer.fit_loop.epoch_loop.batch_progress  # type: ignore[union-attr]
    assert set(vars(progress.current).values()) == set(vars(progress.total).values()) == {3}


# Several ranks


@pytest.mark.parametrize("settings", [{}, {"tokens_per_step": 1024}, {"tokens_per_step": 200, "max_length": 128}])
@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_ranks_share_each_step_without_loss_or_repetition(
    data: Callable[..., DialogueDataModule], settings: dict[str, Any], ranks: int
) -> None:
    """Whatever the tail: as many batches on each rank, the rows of a step those of a single process."""
    alone, module = data(**settings), data(**settings)
    whole = training(alone, epoch=1, window=2 * ranks if not settings else 1)
    shares = [training(module, epoch=1, window=2 if not settings else 1, rank=r, ranks=ranks) for r in range(ranks)]
    assert len({len(share) for share in shares}) == 1
    step, window = alone.trainer.accumulate_grad_batches, module.trainer.accumulate_grad_batches  # type: ignore[union-attr]
    ours = [
        sorted(row for share in shares for row in rows_of(share[first : first + window]))
        for first in range(0, len(shares[0]), window)
    ]
    theirs = [sorted(rows_of(whole[first : first + step])) for first in range(0, len(whole), step)]
    assert ours == theirs
    for first in range(0, len(shares[0]), window):  # every rank divides by the tokens of the whole step
        batches = [batch for share in shares for batch in share[first : first + window]]
        assert {batch["window_answers"] for batch in batches} == {sum(batch["answers"] for batch in batches)}


def test_a_run_goes_on_with_another_number_of_ranks(data: Callable[..., DialogueDataModule]) -> None:
    """After three steps on one rank, two ranks take the rows of the fourth and all that follow, each once."""
    alone = data(tokens_per_step=1024)
    whole = training(alone, epoch=1)
    window = alone.trainer.accumulate_grad_batches  # type: ignore[union-attr]
    stood = {"batch_tokens": 512, "window": window, "ranks": 1}
    rest = []
    for rank in range(2):
        module = data(tokens_per_step=1024)
        module.load_state_dict(stood)
        rest += training(module, epoch=1, restarting_at=3 * window, rank=rank, ranks=2)
    assert sorted(rows_of(rest)) == sorted(rows_of(whole[3 * window :]))


def test_an_evaluation_has_as_many_batches_on_each_rank(data: Callable[..., DialogueDataModule]) -> None:
    module, found = data(batch_tokens=128), []
    for rank in range(4):
        training(module, rank=rank, ranks=4)
        found.append(list(module.test_dataloader()))
    assert len({len(share) for share in found}) == 1
    assert sorted(row for share in found for row in rows_of(share)) == list(range(len(module.store("test"))))


# Tokens of a step


def steps_of(module: DialogueDataModule, epoch: int = 0) -> list[list[int]]:
    """The rows of each optimizer step."""
    batches = training(module, epoch)
    window = module.trainer.accumulate_grad_batches  # type: ignore[union-attr]
    return [sorted(rows_of(batches[first : first + window])) for first in range(0, len(batches), window)]


def test_tokens_per_step_make_the_same_steps_whatever_a_batch_holds(data: Callable[..., DialogueDataModule]) -> None:
    lengths = data().store("train").lengths
    made = [data(tokens_per_step=1536, batch_tokens=tokens) for tokens in (128, 512, 600, 1536, 8192)]
    steps = [[steps_of(module, epoch) for epoch in range(2)] for module in made]
    assert all(other == steps[0] for other in steps)
    sizes = [int(lengths[rows].sum()) for rows in steps[0][0]]
    assert len(sizes) > 3
    assert all(1536 - 128 < size <= 1536 for size in sizes[:-1])
    assert [module.window for module in made] == [11, 4, 3, 1, 1]
    for module in made[1:]:
        assert max(batch["input_ids"].numel() for batch in training(module)) <= module.batch_tokens


def test_tokens_per_step_count_padding_as_a_batch_does(data: Callable[..., DialogueDataModule]) -> None:
    module = data(tokens_per_step=1100, pad_to_max_length=True)
    assert {len(rows) for rows in steps_of(module)[:-1]} == {1100 // 128}
    assert max(batch["input_ids"].numel() for batch in training(module)) <= 512


def test_tokens_per_step_below_a_batch_are_the_batch(data: Callable[..., DialogueDataModule]) -> None:
    small, plain = data(tokens_per_step=300, batch_tokens=512), data(batch_tokens=300)
    assert [batch["rows"] for batch in training(small)] == [batch["rows"] for batch in training(plain)]
    assert small.window == 1


def test_every_batch_knows_the_targets_of_its_step(data: Callable[..., DialogueDataModule]) -> None:
    module = data(tokens_per_step=1024)
    batches, store = training(module), module.store("train")
    steps = steps_of(module)
    for place, batch in enumerate(batches):
        rows = steps[place // module.window]
        assert batch["window_answers"] == store.targets[ANSWER][rows].sum()
        assert batch["window_questions"] == store.targets[QUESTION][rows].sum()


def test_two_ways_to_say_how_long_a_step_is_are_refused(data: Callable[..., DialogueDataModule]) -> None:
    module = data(tokens_per_step=1024)
    with pytest.raises(InputError, match="accumulate_grad_batches 2") as caught:
        training(module, window=2)
    assert caught.value.hint
    training(module)
    training(module, window=module.window)  # its own: the next epoch of the same fit


@pytest.mark.parametrize("split", ["validation", "test"])
def test_held_back_rows_come_once_and_in_order(data: Callable[..., DialogueDataModule], split: str) -> None:
    module = data()
    loader = module.val_dataloader() if split == "validation" else module.test_dataloader()
    rows = rows_of(loader)
    assert rows == list(range(len(module.store(split))))
    assert rows
    assert rows_of(loader) == rows


@pytest.mark.parametrize("fraction", ["val_fraction", "test_fraction"])
def test_side_that_is_not_held_back_is_empty(data: Callable[..., DialogueDataModule], fraction: str) -> None:
    module = data(**{fraction: 0.0})
    loaders = {"val_fraction": module.val_dataloader, "test_fraction": module.test_dataloader}
    assert list(loaders.pop(fraction)()) == []
    assert all(list(loader()) for loader in loaders.values())
    assert module.longest > 0


def test_splits_hold_all_rows(data: Callable[..., DialogueDataModule]) -> None:
    module = data()
    stores = {split: module.store(split) for split in SPLITS}
    assert sum(map(len, stores.values())) == 120
    assert module.longest == max(int(store.lengths.max()) for store in stores.values())


def test_questions_to_answer_are_those_of_the_test_split(data: Callable[..., DialogueDataModule]) -> None:
    module = data(test_fraction=0.5)
    groups = list(module.predict_dataloader())
    asked = [row for group in groups for row in group]
    store = module.store("test")
    assert max(map(len, groups)) <= 32 < len(store)
    assert sorted(row["row"] for row in asked) == sorted(store.texts(row)["row"] for row in range(len(store)))
    assert set(asked[0]) == {"number", "question", "answer", "source", "row", "group"}
    order = {store.texts(row)["row"]: int(store.targets[QUESTION][row]) for row in range(len(store))}
    lengths = [order[row["row"]] for row in asked]
    assert lengths == sorted(lengths)  # of like length together: little padding


def test_padding_gives_the_same_targets(data: Callable[..., DialogueDataModule]) -> None:
    flat, padded = data(), data(pad_to_max_length=True)
    assert flat.prepared.fingerprint == padded.prepared.fingerprint

    def learned(batches: list[dict[str, Any]]) -> list[int]:
        return sorted(int(t) for batch in batches for t in batch["targets"][: batch["answers"]])

    batches = training(padded)
    assert all(batch["input_ids"].shape[1] == 128 and batch["input_ids"].numel() <= 512 for batch in batches)
    assert learned(batches) == learned(training(flat))
    assert rows_of(batches) == rows_of(training(flat))
    for loader, other in (
        (flat.val_dataloader(), padded.val_dataloader()),
        (flat.test_dataloader(), padded.test_dataloader()),
    ):
        assert learned(list(loader)) == learned(list(other))


def test_padded_validation_holds_rows_longer_than_training_allows(cache: Path, tmp_path: Path) -> None:
    lines = [f"Question number {number} of many?,{'Rest it well. ' * 40}" for number in range(60)]
    (tmp_path / "long.csv").write_text("\n".join(["input,output", *lines]))
    module = DialogueDataModule(
        str(tmp_path / "long.csv"),
        "train",
        300,
        system_prompt="Be kind.",
        max_length=96,
        batch_tokens=512,
        pad_to_max_length=True,
    )
    longest = int(module.store("test").lengths.max())
    assert longest > 96
    assert {batch["input_ids"].shape[1] for batch in module.test_dataloader()} == {longest}
    assert {batch["input_ids"].shape[1] for batch in training(module)} == {96}


def test_setup_without_prepare_is_enough(
    data: Callable[..., DialogueDataModule], consultations: Callable[..., Path]
) -> None:
    made = data()
    other = DialogueDataModule(str(consultations(120)), "train", 400, max_length=128, batch_tokens=512)
    other.setup("test")
    assert other.prepared.cached
    assert other.prepared.fingerprint == made.prepared.fingerprint
    assert torch.equal(
        next(iter(other.test_dataloader()))["input_ids"], next(iter(made.test_dataloader()))["input_ids"]
    )


def test_encoder_is_that_of_training(data: Callable[..., DialogueDataModule]) -> None:
    module = data()
    texts, ids = module.store("train").texts(0), module.store("train").input_ids(0)
    (encoded,) = module.encoder.encode([str(texts["question"])], [str(texts["answer"])])
    assert encoded.input_ids.tolist() == ids.tolist()


def test_a_frame_is_refused_with_the_way_to_write_it() -> None:
    frame = pd.DataFrame({"input": ["I cough."], "output": ["Rest."]})
    for source in (frame, [frame]):
        with pytest.raises(InputError) as caught:
            DialogueDataModule(source)  # type: ignore[arg-type]
        assert "\n" not in caught.value.what
        assert "to_csv('notes.csv'" in caught.value.hint


def test_nothing_is_read_before_it_is_needed(cache: Path) -> None:
    DialogueDataModule("nowhere.csv", "nothing/there")
    assert not cache.exists()


def test_cache_dir_wins_over_the_environment(cache: Path, tmp_path: Path, consultations: Callable[..., Path]) -> None:
    module = DialogueDataModule(str(consultations()), "train", 300, max_length=128, cache_dir=str(tmp_path / "mine"))
    module.prepare_data()
    assert module.prepared.folder.parent == tmp_path / "mine"
    assert not cache.exists()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"test_fraction": -0.1}, "test_fraction -0.1"),
        ({"val_fraction": -0.1}, "val_fraction -0.1"),
        ({"test_fraction": 0.6, "val_fraction": 0.5}, "nothing to train on"),
        ({"test_fraction": 1.0, "val_fraction": 0.05}, "nothing to train on"),
        ({"test_fraction": float("nan")}, "test_fraction is nan"),
        ({"max_length": 512, "batch_tokens": 511}, "batch_tokens 511"),
        ({"max_length": 512, "tokens_per_step": 511}, "tokens_per_step 511"),
        ({"max_length": 512, "eval_max_length": 400}, "eval_max_length 400"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError) as caught:
        DialogueDataModule(**settings)
    assert named in caught.value.what
    assert caught.value.hint


def test_largest_settings_that_can_be() -> None:
    DialogueDataModule(max_length=512, batch_tokens=512, test_fraction=0.5, val_fraction=0.49)


def test_unknown_column_is_said_when_the_data_is_read(cache: Path, consultations: Callable[..., Path]) -> None:
    module = DialogueDataModule(str(consultations()), "train", 300, question_column="question", max_length=128)
    with pytest.raises(InputError) as caught:
        module.prepare_data()
    assert "no column 'question'" in caught.value.what
    assert "input, output" in caught.value.what


# Several sources


@pytest.fixture
def mixed(cache: Path, consultations: Callable[..., Path]) -> Callable[..., DialogueDataModule]:
    """A data module over two tables of 100 consultations, `mixed(weight, weight)`."""
    paths = [consultations(100, name, first) for name, first in (("a.csv", 0), ("b.csv", 100))]

    def make(*weights: float, **changes: Any) -> DialogueDataModule:
        entries = [{"path": str(path), "weight": weight} for path, weight in zip(paths, weights, strict=True)]
        settings: dict[str, Any] = {"tokenizer": "train", "vocab_size": 400, "max_length": 128, "batch_tokens": 512}
        return DialogueDataModule(entries, **{**settings, **changes})  # type: ignore[arg-type]

    return make


def shown(module: DialogueDataModule, epoch: int = 0) -> tuple[Counter[int], Counter[int]]:
    """How often an epoch shows each row of the first source, and of the second."""
    times = Counter(rows_of(training(module, epoch)))
    of = module.store("train").sources
    return tuple(Counter({row: n for row, n in times.items() if of[row] == source}) for source in (0, 1))  # type: ignore[return-value]


def test_weight_of_two_shows_each_row_of_a_source_twice_an_epoch(mixed: Callable[..., DialogueDataModule]) -> None:
    module = mixed(1, 2)
    rows = [np.flatnonzero(module.store("train").sources == source).tolist() for source in (0, 1)]
    assert min(map(len, rows)) > 60
    for epoch in range(3):
        once, twice = shown(module, epoch)
        assert once == Counter(rows[0])
        assert twice == Counter(rows[1] * 2)
    assert all(batch["input_ids"].numel() <= 512 for batch in training(module))


def test_weight_of_a_half_shows_another_half_each_epoch(mixed: Callable[..., DialogueDataModule]) -> None:
    module, again = mixed(0.5, 1), mixed(0.5, 1)
    rows = set(np.flatnonzero(module.store("train").sources == 0).tolist())
    halves = [shown(module, epoch) for epoch in range(4)]
    for half, whole in halves:
        assert set(half.values()) == set(whole.values()) == {1}
        assert 0.3 < len(half) / len(rows) < 0.7
        assert len(whole) == len(module.store("train")) - len(rows)
    assert len({frozenset(half) for half, _ in halves}) == 4
    assert len(set().union(*(half for half, _ in halves))) > 0.8 * len(rows)
    assert [shown(again, epoch) for epoch in (3, 0)] == [halves[3], halves[0]]  # not by what was served before
    assert rows_of(training(again, 2)) == rows_of(training(module, 2))


def test_weight_of_one_and_a_half_is_once_or_twice(mixed: Callable[..., DialogueDataModule]) -> None:
    module = mixed(1.5, 1)
    rows = np.flatnonzero(module.store("train").sources == 0)
    times = shown(module)[0]
    assert set(times) == set(rows.tolist())
    assert set(times.values()) == {1, 2}
    assert 1.3 < times.total() / len(rows) < 1.7


def test_weight_of_zero_trains_on_none_and_holds_back_as_before(mixed: Callable[..., DialogueDataModule]) -> None:
    module, plain = mixed(0, 1), mixed(1, 1)
    assert not shown(module)[0]
    assert shown(module)[1] == shown(plain)[1]
    for split in ("validation", "test"):
        assert len(set(module.store(split).sources.tolist())) == 2
    for loaders in zip(
        (module.val_dataloader(), module.test_dataloader()),
        (plain.val_dataloader(), plain.test_dataloader()),
        strict=True,
    ):
        assert [batch["rows"] for batch in loaders[0]] == [batch["rows"] for batch in loaders[1]]


def test_resumed_epoch_of_weighted_sources_goes_on_where_it_stopped(
    mixed: Callable[..., DialogueDataModule],
) -> None:
    whole = training(mixed(0.5, 2), epoch=1)
    rest = training(mixed(0.5, 2), epoch=1, restarting_at=5)
    assert [batch["rows"] for batch in rest] == [batch["rows"] for batch in whole[5:]]


def test_every_row_remembers_its_source(cache: Path, consultations: Callable[..., Path], tmp_path: Path) -> None:
    """A source's number, also where it is a folder of several files; and its file, by name."""
    for name, first in (("tables/a.csv", 0), ("tables/b.csv", 100), ("own.csv", 200)):
        consultations(50, name, first)
    module = DialogueDataModule([str(tmp_path / "tables"), str(tmp_path / "own.csv")], "train", 300, max_length=128)
    firsts, seen = {"a.csv": (0, 0), "b.csv": (0, 100), "own.csv": (1, 200)}, 0
    for split in SPLITS:
        store = module.store(split)
        assert len(store.sources) == len(store)
        for row in range(len(store)):
            texts = store.texts(row)
            number, first = firsts[texts["source"]]
            assert store.sources[row] == number
            assert (texts["question"], texts["answer"]) == consultation(first + texts["row"])
            seen += 1
    assert seen == 150


def test_every_source_has_columns_of_its_own(cache: Path, consultations: Callable[..., Path], tmp_path: Path) -> None:
    with (tmp_path / "b.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("asked", "output"), *map(consultation, range(100, 130))])
    with (tmp_path / "c.jsonl").open("w", encoding="utf-8") as file:
        for question, answer in map(consultation, range(200, 230)):
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"chat": messages}) + "\n")
    entries: list[Any] = [
        str(consultations(30, "a.csv")),
        {"path": str(tmp_path / "b.csv"), "question_column": "asked"},
        {"path": str(tmp_path / "c.jsonl"), "messages_column": "chat", "weight": 0.5},
    ]
    module = DialogueDataModule(entries, "train", 300, max_length=128)
    kept = [module.store(split).texts(row) for split in SPLITS for row in range(len(module.store(split)))]
    expected = sorted(map(consultation, [*range(30), *range(100, 130), *range(200, 230)]))
    assert sorted((texts["question"], texts["answer"]) for texts in kept) == expected


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [{"path": "a.csv", "weight": 0}, {"path": "b.csv", "weight": 0}],
        [{"path": "a.csv", "weight": -1}],
        [{"path": "a.csv", "weight": float("nan")}],
        [{"path": "a.csv", "weight": True}],
        [{"path": "a.csv", "weight": "2"}],
        [{"path": "a.csv", "weights": 2}],
        [{"weight": 2}],
        [{"path": "a.csv", "question_column": 3}],
        ["a.csv", 3],
    ],
)
def test_sources_that_cannot_be(entries: list[Any]) -> None:
    with pytest.raises(InputError):
        DialogueDataModule(entries)


def test_hyperparameters_are_plain_data(mixed: Callable[..., DialogueDataModule]) -> None:
    module = mixed(0.5, 2, rules={"cut_answer": True})
    stored = yaml.safe_load(yaml.safe_dump(dict(module.hparams)))
    assert stored == json.loads(json.dumps(dict(module.hparams)))
    assert [entry["weight"] for entry in stored["source"]] == [0.5, 2]
    again = DialogueDataModule(**stored)
    assert again.recipe == module.recipe
    assert rows_of(training(again)) == rows_of(training(module))


def test_sources_of_a_config_file_reach_training_and_come_back_from_its_checkpoint(tmp_path: Path) -> None:
    tables = [str(tiny.table(tmp_path / f"{name}.csv", seed=seed)) for seed, name in enumerate("ab")]
    content = tiny.settings(tmp_path, max_epochs=1, callbacks=[])
    content["data"]["source"] = [tables[0], {"path": tables[1], "weight": 2.0}]
    content["samples"] = {"questions": 0}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    status, _, err = tiny.command("fit", "--config", tmp_path / "two.yaml", cwd=tmp_path)
    assert status == 0, err
    run = tmp_path / "lightning_logs" / "two" / "version_0"
    saved = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert saved["data"]["source"] == content["data"]["source"]
    stored = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    module = DialogueDataModule(**content["data"])
    assert stored["global_step"] == len(module.plan_epoch(0))  # the weights' own number of batches
    assert module.prepared.cached
    status, _, err = tiny.command("validate", "--ckpt_path", run / "checkpoints" / "last.ckpt", cwd=tmp_path)
    assert status == 0, err


def test_added_words_follow_a_trained_vocabulary_in_their_order(cache: Path, tmp_path: Path) -> None:
    """The data module says which they are, so that the network gets a new row for each."""
    rows = [
        (f"Call [PHONE] or [NAME], {number} times? {number}", f"[NAME], please rest {number} days.")
        for number in range(60)
    ]
    path = tmp_path / "words.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("input", "output"), *rows])
    words = ["[PHONE]", "[NAME]"]
    for order in (words, words[::-1]):
        data = DialogueDataModule(str(path), "train", 300, system_prompt="", add_tokens=order)
        tokenizer, ids = data.prepared.tokenizer, data.store("train").input_ids(0).tolist()
        assert tokenizer.convert_tokens_to_ids(order) == [300, 301]
        named = [tokenizer.convert_ids_to_tokens(token) for token in ids if token >= 300]
        assert named == ["[PHONE]", "[NAME]", "[NAME]"]
        assert data.hparams["add_tokens"] == order
    assert DialogueDataModule(str(path), "train", 300).hparams["add_tokens"] is None
