"""Private data reaches no file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation import pipeline
from lightning_med.data.preparation.cache.source_digests import SourceDigests
from lightning_med.data.preparation.clean_chunk import _hash_origins, _hash_texts
from lightning_med.data.preparation.clean_rows import CleanRowStore, CleanRowWriter
from lightning_med.data.preparation.pipeline import CLEAN_ROWS, prepare
from lightning_med.data.report.data_report import write_report
from lightning_med.data.sources import table_files
from tests.conftest import consultation
from tests.data.preparation.helpers import recipe, rows_left_in, write

PRIVATE = ("jane.roe", "example.org", "415-555", "555-267", "4155552671", "4111 1111", "41111111", "Roe")


def words_under(folder: Path, tokenizer: PreTrainedTokenizerFast | None = None) -> str:
    """The text in all files of a folder, whatever their format."""
    texts = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        texts.append(path.read_bytes().decode("utf-8", "replace"))
        if path.suffix == ".parquet":
            texts.append(str(pq.read_table(path).to_pydict()))
        if path.name == "texts.arrow":  # compressed
            with pa.ipc.open_file(path) as reader:
                texts.append(str(reader.read_all().to_pydict()))
        elif path.suffix == ".arrow" and tokenizer is not None:
            table = Dataset.from_file(str(path))
            texts += [tokenizer.decode(row["input_ids"]) for row in table]
    return "\n".join(texts)


def test_private_data_reaches_no_file(
    cache: Path, private_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_way: list[str] = []
    write_report_of_rows = CleanRowWriter.write_report

    def spy(self: CleanRowWriter, **report: Any) -> None:
        write_report_of_rows(self, **report)
        self._texts.close()
        on_the_way.append(words_under(cache))

    monkeypatch.setattr(CleanRowWriter, "write_report", spy)
    prepared = prepare(recipe(private_rows, rules={"cut_answer": True}))
    assert "hurts since" in on_the_way[0]
    write_report(prepared, tmp_path / "report")
    text = words_under(cache, prepared.tokenizer) + words_under(tmp_path / "report")
    for secret in PRIVATE:
        assert secret not in text
        assert not any(secret in seen for seen in on_the_way)
    assert prepared.report["private"]["EMAIL"] >= 23
    assert prepared.report["private"]["PHONE"] >= 21
    assert prepared.report["private"]["CARD"] == 10
    assert "[EMAIL]" in text


def test_private_data_that_is_kept_is_in_no_report(cache: Path, private_rows: Path, tmp_path: Path) -> None:
    rules = {"cut_answer": True, "html": True}
    prepared = prepare(recipe(private_rows, private_data=False, rules=rules))
    assert prepared.report["private"] == {}
    write_report(prepared, tmp_path / "report")
    assert "jane.roe@example.org" in words_under(prepared.folder)
    for path in (prepared.folder / "report.json", *(tmp_path / "report" / f"report.{end}" for end in ("json", "html"))):
        text = path.read_text(encoding="utf-8")
        assert not [secret for secret in PRIVATE if secret in text]
    assert any(opening["count"] >= 10 for opening in prepared.report["openings"])


def test_private_data_of_any_column_and_turn_reaches_no_file(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conversations, their later turns, identity numbers, patients' own numbers; with processes side by side."""
    monkeypatch.setattr(pipeline, "_SMALL", 0)
    monkeypatch.setattr(pipeline, "count_cores", lambda: 2)
    monkeypatch.setattr(table_files, "CHUNK", 25)
    secrets = ("zelda.okonkwo", "078-05-1121", "312-867-5309", "Okonkwo", "Zelda", "MRN-7788", "raw-key-55")
    with (tmp_path / "chats.jsonl").open("w", encoding="utf-8") as file:
        for number in range(100):
            (asked, replied), (again, at_last) = consultation(number), consultation(200 + number)
            texts = [asked, f"Hello Zelda Okonkwo, {replied}"]
            texts += [f"{again} My SSN is 078-05-1121.", f"{at_last} Call me at 312-867-5309."]
            texts += [f"Mail zelda.okonkwo@example.org, please. {asked}", f"{replied} Regards, Dr. Zelda Okonkwo."]
            messages: Any = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
            messages = messages if number % 20 else [{"role": "Zelda Okonkwo", "content": texts[0]}]
            file.write(json.dumps({"chat": messages, "patient": f"MRN-7788{number % 40}", "raw-key-55": 1}) + "\n")
    source = {"path": str(tmp_path / "chats.jsonl"), "messages_column": "chat", "group_column": "patient"}
    settings: dict[str, Any] = {"max_length": 512, "on_bad_row": "drop"}
    prepared = prepare(DialogueDataModule([source], "train", 400, **settings).recipe)
    assert prepared.report["bad_rows"] == 5
    assert prepared.report["rows_out"] == 95
    write_report(prepared, tmp_path / "report")
    text = words_under(cache, prepared.tokenizer) + words_under(tmp_path / "report")
    assert "hurts since" in text
    assert [secret for secret in secrets if secret.lower() in text.lower()] == []
    for kind in ("EMAIL", "PHONE", "NATIONAL_ID"):
        assert prepared.report["private"][kind] == 95
        assert f"[{kind}]" in text


def test_private_data_that_is_kept_is_in_no_sample(cache: Path, private_rows: Path, tmp_path: Path) -> None:
    """The file that people pass around is masked whatever the setting; the tables for audit are what is learned."""
    prepared = prepare(recipe(private_rows, private_data=False, rules={"cut_answer": True, "html": True}))
    write_report(prepared, tmp_path / "report")
    sample = (tmp_path / "report" / "sample.csv").read_text(encoding="utf-8")
    assert not [secret for secret in PRIVATE if secret in sample]
    assert sample.count("[EMAIL]") >= 20
    assert "jane.roe@example.org" in str(pq.read_table(tmp_path / "report" / "train.parquet").to_pydict())


def test_no_hash_of_what_was_replaced_can_be_compared(cache: Path, tmp_path: Path) -> None:
    """Whoever has the clean text could try all phone numbers, or all patients' numbers."""
    rows = [
        (f"{asked} Call 312-867-5{number:03}.", told, f"MRN-{number % 9}" * (number % 2))
        for number, (asked, told) in enumerate(map(consultation, range(60)))
    ]
    source = write(tmp_path / "notes.csv", rows, ("input", "output", "patient"))
    for changes in ({}, {"rules": {"html": False}}):
        prepare(recipe(source, group_column="patient", **changes))
    keys = set(_hash_texts([patient for *_, patient in rows if patient]).tolist())
    keys |= set(_hash_origins(pd.Series([question for question, *_ in rows])).tolist())
    stored = []
    for name in rows_left_in(cache):
        folder = cache / CLEAN_ROWS / name
        for path in folder.glob("*.npy"):
            assert not keys & set(np.load(path).tolist())
        stored.append(np.load(folder / "split_keys.npy"))
        secret = SourceDigests(cache, [(0, source)]).compute()[1] + name.encode()
        assert set(CleanRowStore(folder, secret).split_keys.tolist()) <= keys
    assert not (stored[0] == stored[1]).any()
    assert len(np.unique(stored[0])) == len(rows)  # nor can it be seen which are equal
