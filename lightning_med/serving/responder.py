"""Answers to questions from an exported model: `Responder` for many, `generate_response` for one."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_med.checkpoints.export_folder import SETTINGS, list_exports
from lightning_med.checkpoints.run_folder import RUNS
from lightning_med.safety import Verdict, guard, triage
from lightning_med.serving.answer import Answer
from lightning_med.tokenization.text_normalization import normalize_whitespace
from lightning_med.utils.errors import InputError, check_text
from lightning_med.utils.memory.garbage import pause_collection

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from lightning_med.inference.decoding import Decoding
    from lightning_med.tokenization.encoder import Encoder

MODEL_VARIABLE = "LIGHTNING_MED_MODEL"
CHUNK = 256  # questions that are sorted by length and split into batches at once


class Responder:
    """Answers questions with an exported model. For research and education, never a substitute for care.

    A dangerous question gets fixed advice, and the model is not asked. Every answer of the model is guarded.

    Examples:
        >>> responder = Responder.from_pretrained("lightning_logs/quickstart/version_0/export")
        >>> print(responder.respond("My tongue is sore, what can I do?"))
    """

    def __init__(
        self,
        network: PreTrainedModel,
        encoder: Encoder,
        decoding: Decoding,
        region: str | None = None,
        safety: bool = True,
    ) -> None:
        self.network, self.encoder, self.decoding = network.eval(), encoder, decoding
        self.region, self.safety = region, safety

    @classmethod
    def from_pretrained(cls, folder: str | Path, region: str | None = None, safety: bool = True) -> Responder:
        """Loads an exported model, on the GPU if there is one.

        Args:
            folder: Of the export.
            region: The country whose emergency numbers the advice names, for instance `GB`; default: that of the
                locale.
            safety: `False` switches triage and guard off, and every answer says so.

        Raises:
            InputError: The folder is not an export of `lightning-med export`, or an incomplete one (Git LFS pointers).
        """
        folder = Path(folder)
        with pause_collection():
            from lightning_med.inference.model_folder import open_export

            model = open_export(folder)
            network = model.load_network()
        return cls(network, model.encoder, model.decoding, region, safety)

    def respond(self, question: str, verdict: Verdict | None = None) -> Answer:
        """Answers one question; of a very long one the model reads the beginning.

        Args:
            question: The patient's words.
            verdict: Of `triage` on the question, if it is known already.

        Raises:
            InputError: The question is empty.
        """
        return self.respond_all([question], None if verdict is None else [verdict])[0]

    def respond_all(self, questions: Iterable[str], verdicts: Iterable[Verdict] | None = None) -> list[Answer]:
        """Answers several questions, in bounded memory however many they are.

        Args:
            questions: The patients' words.
            verdicts: Of `triage` on each question, if they are known already.

        Raises:
            InputError: A question is empty.
        """
        questions = list(questions)
        for question in questions:
            clean_question(question)
        verdicts = None if verdicts is None else list(verdicts)
        answers: dict[int, Answer] = {}
        for start in range(0, len(questions), CHUNK):
            chunk = slice(start, start + CHUNK)
            for batch in self.respond_chunk(questions[chunk], None if verdicts is None else verdicts[chunk]):
                answers |= {start + place: answer for place, answer in batch.items()}
        return [answers[place] for place in range(len(questions))]

    def respond_chunk(
        self, questions: Sequence[str], verdicts: Sequence[Verdict] | None = None, done: Collection[int] = ()
    ) -> Iterator[dict[int, Answer]]:
        """Answers a chunk of questions, those of similar length side by side.

        Args:
            questions: The patients' words, at most `CHUNK`; an empty one gets an empty answer.
            verdicts: Of `triage` on each question, if they are known already.
            done: Places whose answers are not needed. The others are answered side by side as they would be without it.

        Yields:
            Answers by their place in the chunk, batch by batch; first those that need no model.
        """
        cleaned = list(map(normalize_whitespace, questions))
        if verdicts is None and self.safety:
            verdicts = [triage(question, self.region) for question in questions]
        found: Sequence[Verdict | None] = verdicts if self.safety and verdicts is not None else [None] * len(questions)

        def finish(place: int, raw: str) -> Answer:
            question, verdict = questions[place], found[place]
            if not cleaned[place]:
                return Answer.without_question(question)
            if verdict is None:
                return Answer.without_checks(question, raw)
            return Answer.from_guarded(question, raw, guard(question, raw, self.region, verdict))

        pairs = enumerate(zip(cleaned, found, strict=True))
        asked = [place for place, (text, verdict) in pairs if text and (verdict is None or verdict.answerable)]
        fixed = sorted(set(range(len(questions))) - set(asked))
        batches = self._plan([cleaned[place] for place in asked])
        for batch in [fixed, *([asked[number] for number in numbers] for numbers in batches)]:
            if all(place in done for place in batch):
                continue
            raws = [""] * len(batch) if batch is fixed else self._generate([cleaned[place] for place in batch])
            yield {place: finish(place, raw) for place, raw in zip(batch, raws, strict=True)}

    def _plan(self, questions: list[str]) -> list[list[int]]:
        from lightning_med.inference.question_batches import plan_questions

        return plan_questions(self.network, self.encoder, questions, self.decoding)

    def _generate(self, questions: list[str]) -> list[str]:
        import torch

        from lightning_med.inference.generation import generate_answers

        with torch.inference_mode():
            return generate_answers(self.network, self.encoder, questions, self.decoding)


def answer_question(
    question: str, load: Callable[[], Responder], region: str | None = None, safety: bool = True
) -> Answer:
    """Answers one question; loads the model only if the verdict on the question lets a model answer.

    Args:
        question: The patient's words.
        load: Returns the responder, made with the same `region` and `safety`.
        region, safety: See `Responder.from_pretrained`.

    Raises:
        InputError: The question is empty, or no model can be loaded.
    """
    clean_question(question)
    verdict = triage(question, region) if safety else None
    if verdict is not None and not verdict.answerable:
        return Answer.from_guarded(question, "", guard(question, "", region, verdict))
    return load().respond(question, verdict)


def clean_question(question: str) -> str:
    """Returns a question with its white space as in the training data.

    Raises:
        InputError: It is empty, or not text.
    """
    check_text("The question", question)
    cleaned = normalize_whitespace(question)
    if not cleaned:
        raise InputError("The question is empty.", 'Ask one: lightning-med respond --model DIR "My tongue is sore."')
    return cleaned


def generate_response(question: str, model: str | Path | None = None) -> str:
    """Answers one question; the model stays in memory for the next call.

    Args:
        question: The patient's words.
        model: The folder of an export; default: `$LIGHTNING_MED_MODEL`, else the newest export under `lightning_logs`.

    Returns:
        The guarded answer with its disclaimer, or the fixed advice on a dangerous question.

    Raises:
        InputError: There is no model, or the question is empty.
    """

    def load() -> Responder:
        folder = Path(model or os.environ.get(MODEL_VARIABLE) or find_newest_export())
        return _load_cached(str(folder), _get_export_time(folder))

    return str(answer_question(question, load))


@lru_cache(maxsize=1)
def _load_cached(folder: str, export_time: float) -> Responder:
    return Responder.from_pretrained(folder)


def _get_export_time(folder: Path) -> float:
    """Part of the cache's key, so that a folder that is exported again is loaded again."""
    settings = folder / SETTINGS
    return settings.stat().st_mtime if settings.is_file() else 0.0


def find_newest_export() -> Path:
    """Returns the newest export under `lightning_logs`.

    Raises:
        InputError: There is none.
    """
    exports = list_exports(Path(RUNS).glob("*/version_*"))
    if not exports:
        raise InputError(
            f"No model is named, and there is no export under {RUNS}.",
            "Name one: --model DIR. Or make one: lightning-med fit --config configs/quickstart_small.yaml, then"
            " lightning-med export.",
        )
    return exports[0]
