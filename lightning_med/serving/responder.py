"""Responder: load once, answer many. The library's front door."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_med.checkpoints.export_folder import SETTINGS
from lightning_med.safety import Guarded, Verdict, guard, triage
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.safety.messages import advice
from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.text_normalization import normalize_whitespace
from lightning_med.utils.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from lightning_med.inference.generation import Decoding
    from lightning_med.tokenization.encoder import Encoder

MODEL_VARIABLE = "LIGHTNING_MED_MODEL"


UNCHECKED = "unchecked"


@dataclass(frozen=True)
class Answer:
    """An answer and how it came about.

    Attributes:
        question: As it was asked.
        answer: What to show: guarded, the disclaimer at its end.
        raw: What the model wrote; empty where it was not asked.
        level, category: Of the verdict on the question; `unchecked` where safety is off.
        guard: What the guard did, and how often.
        advice: Fixed words for a question of danger; they stand in `answer` too.
    """

    question: str
    answer: str
    raw: str
    level: str
    category: str
    guard: dict[str, int]
    advice: str

    @classmethod
    def of(cls, question: str, raw: str, guarded: Guarded) -> Answer:
        verdict = guarded.verdict
        return cls(question, guarded.answer, raw, verdict.level, verdict.category, guarded.actions, verdict.advice)

    def __str__(self) -> str:
        return self.answer


class Responder:
    """Answers questions with an exported model. For research and education, never a substitute for care.

    A question of danger gets fixed advice and the model is not asked; whatever the model writes is guarded.

    Example:
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
        """Loads an export, on the GPU if there is one.

        Args:
            folder: Of the export.
            region: Whose emergency numbers the advice names, for instance `GB`; default: the locale's.
            safety: `False` switches triage and guard off, and every answer says so.

        Raises:
            InputError: The folder is not an export of `lightning-med export`, or not a whole one.
        """
        folder = Path(folder)
        hint = "Make one: lightning-med export --checkpoint RUN/checkpoints/last.ckpt --output RUN/export"
        if not (folder / SETTINGS).is_file():
            raise InputError(f"{folder} is not an exported model: it has no {SETTINGS}.", hint)
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        from lightning_med.inference.generation import Decoding
        from lightning_med.tokenization.encoder import Encoder

        logging.disable_progress_bar()
        try:
            own = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            network: Any = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
            )
            decoding = Decoding(**own["decoding"])
            encoder = Encoder(tokenizer, Prompt(own["system_prompt"]), own["max_length"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"{folder} is not a whole export: {reason}", hint) from error
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return cls(network.to(device or "cpu"), encoder, decoding, region, safety)

    def respond(self, question: str, verdict: Verdict | None = None) -> Answer:
        """Answers one question; of a very long one the beginning counts.

        Args:
            question: The patient's words.
            verdict: Of `triage` on the question, if it is known already.

        Raises:
            InputError: The question is empty.
        """
        return self.respond_all([question], None if verdict is None else [verdict])[0]

    def respond_all(self, questions: list[str], verdicts: list[Verdict] | None = None) -> list[Answer]:
        """Answers several questions in one batch.

        Args:
            questions: The patients' words.
            verdicts: Of `triage` on each question, if they are known already.

        Raises:
            InputError: One of them is empty.
        """
        mended = [clean_question(question) for question in questions]
        if not self.safety:
            return [
                _mark_unchecked(question, raw) for question, raw in zip(questions, self._written(mended), strict=True)
            ]
        if verdicts is None:
            verdicts = [triage(question, self.region) for question in questions]
        answerable = [number for number, verdict in enumerate(verdicts) if verdict.answerable]
        written = dict(zip(answerable, self._written([mended[number] for number in answerable]), strict=True))
        return [
            Answer.of(question, written.get(number, ""), guard(question, written.get(number, ""), self.region, verdict))
            for number, (question, verdict) in enumerate(zip(questions, verdicts, strict=True))
        ]

    def _written(self, questions: list[str]) -> list[str]:
        """What the model writes, unchecked."""
        if not questions:
            return []
        import torch

        from lightning_med.inference.generation import generate_answers

        with torch.inference_mode():
            return generate_answers(self.network, self.encoder, questions, self.decoding)


def _mark_unchecked(question: str, raw: str) -> Answer:
    return Answer(question, f"{raw}\n\n{advice.get_notice('off')}\n\n{DISCLAIMER}", raw, UNCHECKED, "", {}, "")


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
        return Answer.of(question, "", guard(question, "", region, verdict))
    return load().respond(question, verdict)


def clean_question(question: str) -> str:
    """A question as training would have seen it.

    Raises:
        InputError: It is empty.
    """
    mended = normalize_whitespace(question)
    if not mended:
        raise InputError("The question is empty.", 'Ask one: lightning-med respond --model DIR "My tongue is sore."')
    return mended


def generate_response(question: str, model: str | Path | None = None) -> str:
    """Answers a question, in one call; guarded, and with fixed advice where it speaks of danger.

    Args:
        question: The patient's words.
        model: An export's folder; else `$LIGHTNING_MED_MODEL`, else the newest export under `lightning_logs`.

    Returns:
        The answer, with the disclaimer under it.

    Raises:
        InputError: No model is found, or the question is empty.
    """

    def load() -> Responder:
        folder = Path(model or os.environ.get(MODEL_VARIABLE) or find_newest_export())
        return _load_once(str(folder), _find_stamp(folder))

    return str(answer_question(question, load))


@lru_cache(maxsize=1)
def _load_once(folder: str, stamp: float) -> Responder:
    return Responder.from_pretrained(folder)


def _find_stamp(folder: Path) -> float:
    """Changes when the folder is exported anew, so that an old model is not served from memory."""
    settings = folder / SETTINGS
    return settings.stat().st_mtime if settings.is_file() else 0.0


def find_newest_export() -> Path:
    found = list(Path("lightning_logs").glob(f"*/version_*/*/{SETTINGS}"))
    if not found:
        raise InputError(
            "No model is named and none lies under lightning_logs.",
            "Make one: `make quickstart`, or lightning-med fit, then lightning-med export.",
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent
