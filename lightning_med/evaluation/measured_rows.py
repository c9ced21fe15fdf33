"""What is measured of each model, row by row, in one file that an interrupted evaluation goes on with."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from lightning_med.evaluation.candidates import Candidate
from lightning_med.evaluation.likelihood.row_likelihood import measure_all_rows, measure_rows
from lightning_med.evaluation.memory.canaries import Canary, measure_canary
from lightning_med.evaluation.rows import Rows
from lightning_med.inference.decoding import Decoding
from lightning_med.inference.generation import generate_with_ends, limit_new_tokens
from lightning_med.inference.model_folder import choose_device
from lightning_med.inference.part_file import PartFile
from lightning_med.inference.question_batches import plan_questions
from lightning_med.utils.console import Progress
from lightning_med.utils.errors import InputError
from lightning_med.version import __version__

LIKELIHOOD, GREEDY, SAMPLED, CANARIES = "likelihood", "greedy", "sampled", "canaries"
KINDS = (LIKELIHOOD, GREEDY, SAMPLED, CANARIES)
ANSWERS = (GREEDY, SAMPLED)  # kinds that are texts
_CHUNK = 256  # questions that are sorted by length and split into batches at once
_DEFAULT = Decoding(temperature=0.7, top_p=1.0, min_p=0.1, no_repeat_ngram_size=4, repetition_penalty=1.1)
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is measured, and how.

    Args:
        kinds: Of `KINDS`, without `CANARIES`.
        max_new_tokens: Longest answer.
        max_length: Tokens of a row whose likelihood is measured; a longer one is cut.
        sampling_seed: Of sampled answers.
        seed: Of the canaries' alternatives.
        canaries: Maybe none.
    """

    kinds: tuple[str, ...] = (LIKELIHOOD, GREEDY, SAMPLED)
    max_new_tokens: int = 256
    max_length: int = 1024
    sampling_seed: int = 0
    seed: int = 0
    canaries: tuple[Canary, ...] = ()

    def choose_decoding(self, kind: str, candidates: Sequence[Candidate], candidate: Candidate) -> Decoding:
        """Returns the settings of greedy or sampled answers.

        Greedy decoding is plain, the same for all. Sampled answers have an export's own settings; a foreign model has
        those of the first export.
        """
        longest = limit_new_tokens(candidate.model.context, candidate.model.encoder, self.max_new_tokens)
        if kind == GREEDY:
            return Decoding(longest, no_repeat_ngram_size=0)
        own = (candidate, *candidates)
        chosen = next((each.model.decoding for each in own if each.model.settings), _DEFAULT)
        chosen = chosen if chosen.is_sampled else _DEFAULT
        return replace(chosen, max_new_tokens=longest, sampling_seed=self.sampling_seed)

    def limit_length(self, candidate: Candidate) -> int:
        """Returns the tokens of a row that a model can read."""
        return min(self.max_length, candidate.model.context)

    def identify(self) -> dict[str, str]:
        """Returns the plan by names for messages."""
        canaries = json.dumps([asdict(canary) for canary in self.canaries])
        return {
            "max_new_tokens": str(self.max_new_tokens),
            "max_length": str(self.max_length),
            "sampling_seed": str(self.sampling_seed),
            "canaries": f"{sha256(canaries.encode()).hexdigest()[:16]}, seed {self.seed}" if self.canaries else "none",
        }


def identify_rows(candidates: Sequence[Candidate], rows: Rows, plan: Plan) -> dict[str, str]:
    """Returns what the measured rows depend on, by names for messages; see `PartFile`."""
    models = {f"model {each.name}": json.dumps([each.description, asdict(each.model.decoding)]) for each in candidates}
    return {
        "list of models": ", ".join(each.name for each in candidates),
        **{name: sha256(text.encode()).hexdigest()[:16] for name, text in models.items()},
        "number of rows": f"{len(rows):,}",
        "data": rows.compute_digest()[:16],
        "list of measurements": ", ".join(plan.kinds),
        **plan.identify(),
        "kind of device": choose_device().type,
        "versions": f"{__version__}, torch {torch.__version__}, transformers {transformers.__version__}",
    }


class MeasuredRows:
    """Measures models on rows, and keeps what was measured in a file.

    Args:
        candidates: In order.
        rows: At least one.
        plan: What to measure.
        part: Takes the results; its key is a number of model, kind and row.
    """

    def __init__(self, candidates: Sequence[Candidate], rows: Rows, plan: Plan, part: PartFile) -> None:
        self._candidates, self._rows, self._plan, self._part = candidates, rows, plan, part

    def measure(self, progress: Progress) -> None:
        """Measures what is not in the file yet, model by model."""
        for number, candidate in enumerate(self._candidates):
            missing = [kind for kind in self._kinds if len(self._find_done(number, kind)) < self._count(kind)]
            if not missing:
                continue
            progress(f"{candidate.name}, loading", 0, 0)
            network = candidate.model.load_network(torch.float32)
            for kind in missing:
                done = self._find_done(number, kind)
                count, whole = len(done), self._count(kind)
                for batch in self._measure_kind(network, candidate, kind, done):
                    lines = {
                        self._make_key(number, kind, row): self._make_line(candidate, kind, row, values)
                        for row, values in batch.items()
                        if row not in done
                    }
                    self._part.append(lines)
                    count += len(lines)
                    progress(f"{candidate.name}, {kind}, row {count:,} of {whole:,}", count, whole)
            del network
            gc.collect()  # the next one takes its memory

    def take(self, lines: Iterable[Row]) -> None:
        """Takes what an earlier evaluation of the same measured, line by line of its file."""
        names = [candidate.name for candidate in self._candidates]
        keys = ((self._make_key(names.index(line["model"]), line["kind"], line["row"]), line) for line in lines)
        self._part.append({key: line for key, line in keys if key not in self._part.written})

    @property
    def count(self) -> int:
        """Lines of the complete file."""
        return len(self._candidates) * sum(map(self._count, self._kinds))

    @cached_property
    def results(self) -> Mapping[tuple[str, str], list[Row]]:
        """All that was measured: the rows in order, by name of the model and kind."""
        found: dict[tuple[str, str], dict[int, Row]] = {}
        for key, line in self._part.read():
            if key < 0:  # it says what the rows are of
                continue
            found.setdefault((line["model"], line["kind"]), {})[line["row"]] = line
        return {key: [rows[row] for row in sorted(rows)] for key, rows in found.items()}

    @property
    def _kinds(self) -> tuple[str, ...]:
        return (*self._plan.kinds, CANARIES) if self._plan.canaries else self._plan.kinds

    def _count(self, kind: str) -> int:
        return len(self._plan.canaries) if kind == CANARIES else len(self._rows)

    def _make_key(self, number: int, kind: str, row: int) -> int:
        return (number * len(KINDS) + KINDS.index(kind)) * self._stride + row

    @property
    def _stride(self) -> int:
        return max(len(self._rows), len(self._plan.canaries))

    def _find_done(self, number: int, kind: str) -> Collection[int]:
        first = self._make_key(number, kind, 0)
        return {key - first for key in self._part.written if first <= key < first + self._stride}

    def _make_line(self, candidate: Candidate, kind: str, row: int, values: Row) -> Row:
        place = {} if kind == CANARIES else {"source": self._rows.sources[row], "source_row": self._rows.numbers[row]}
        return {"model": candidate.name, "kind": kind, "row": row, **place, **values}

    def _measure_kind(
        self, network: PreTrainedModel, candidate: Candidate, kind: str, done: Collection[int]
    ) -> Iterator[dict[int, Row]]:
        encoder = candidate.model.encoder.with_max_length(self._plan.limit_length(candidate))
        if kind == LIKELIHOOD:
            yield from measure_rows(network, encoder, self._rows.questions, self._rows.references, done)
        elif kind == CANARIES:

            def score(pairs: Sequence[tuple[str, str]]) -> list[float]:
                questions, answers = map(list, zip(*pairs, strict=True))
                found = measure_all_rows(network, encoder, questions, answers)
                if any(row["cut"] for row in found):
                    raise InputError(
                        f"A canary is too long for {candidate.name}: its secret could be cut away.",
                        "Plant and measure shorter ones, or give a larger --max_length.",
                    )
                return [math.nan if row["answer"] is None else row["answer"] for row in found]

            for row, canary in enumerate(self._plan.canaries):
                if row not in done:
                    yield {row: measure_canary(canary, row, score, self._plan.seed)}
        else:
            decoding = self._plan.choose_decoding(kind, self._candidates, candidate)
            yield from _answer_rows(network, candidate, self._rows.questions, decoding, done)


def _answer_rows(
    network: PreTrainedModel, candidate: Candidate, questions: list[str], decoding: Decoding, done: Collection[int]
) -> Iterator[dict[int, Row]]:
    """Yields answers by row, batch by batch. A batch whose rows are all done is left out."""
    encoder = candidate.model.encoder
    for start in range(0, len(questions), _CHUNK):
        chunk = questions[start : start + _CHUNK]
        for places in plan_questions(network, encoder, chunk, decoding):
            if all(start + place in done for place in places):
                continue
            with torch.inference_mode():
                answers = generate_with_ends(network, encoder, [chunk[place] for place in places], decoding)
            yield {
                start + place: {"answer": answer.text, "ended": answer.ended, "tokens": answer.tokens}
                for place, answer in zip(places, answers, strict=True)
            }
