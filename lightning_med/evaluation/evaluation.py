"""`evaluate`: from folders of models and a table to `metrics.json` and the report."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lightning_med.evaluation.answer_metrics import AnswerMeasurer
from lightning_med.evaluation.baselines.baseline_answers import HUMAN, make_baselines
from lightning_med.evaluation.baselines.human import pair_answers
from lightning_med.evaluation.candidates import Candidate, check_different, open_candidates
from lightning_med.evaluation.examples import choose_examples
from lightning_med.evaluation.manner.indicators import measure_detectors
from lightning_med.evaluation.measured_rows import MeasuredRows, Plan, identify_rows
from lightning_med.evaluation.memory.canaries import read_canaries
from lightning_med.evaluation.report.event_file import find_run as find_logged_run
from lightning_med.evaluation.report.event_file import log_results
from lightning_med.evaluation.report.html_report import write_html
from lightning_med.evaluation.report.markdown_report import write_markdown
from lightning_med.evaluation.report.model_card import CARD, update_card
from lightning_med.evaluation.results import (
    Interval,
    Measured,
    format_results,
    is_untuned,
    make_results,
    measure_baselines,
    measure_candidate,
)
from lightning_med.evaluation.rows import Columns, Rows, find_run, open_data, read_rows
from lightning_med.evaluation.text.encoder import SentenceEncoder
from lightning_med.inference.part_file import PartFile, check_unwritten, list_parts
from lightning_med.safety import triage
from lightning_med.safety.messages.advice import resolve_file_region
from lightning_med.utils.console import Progress, say, show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import make_writable_folder, write_text

METRICS, ROWS, PAGE, TEXT = "metrics.json", "rows.jsonl", "report.html", "report.md"


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Args:
        models: Folders; the first is the one that the others are compared with.
        data: A table, or a run whose test split is taken.
        output: Folder of the results.
        train: A table or a run whose training rows make the baselines; default: that of `data`, else the run of the
            first model.
        base: Folder of the untuned base; default: the one that the first model names.
        encoder: Folder of a sentence encoder.
        canaries: File of planted secrets.
        human: A table with several answers to a question, for the ceiling.
        limit: Rows that are drawn by seed; all by default.
        plan: What is measured of each model.
        interval: Settings of the intervals.
        columns: Columns of `data`, `train` and `human` where they are tables.
        overwrite: Replace earlier results.
        update_cards: Write the figures into the model cards of the exports.
    """

    models: tuple[str, ...]
    data: str
    output: Path
    train: str | None = None
    base: str | None = None
    encoder: str | None = None
    canaries: Path | None = None
    human: str | None = None
    limit: int | None = None
    plan: Plan = field(default_factory=Plan)
    interval: Interval = field(default_factory=Interval)
    columns: Columns = field(default_factory=dict)
    overwrite: bool = False
    update_cards: bool = False


def evaluate(request: Request) -> dict[str, Any]:
    """Evaluates models, writes the results and returns the content of `metrics.json`.

    Where a model lies in a run's folder, its figures are added to the run's TensorBoard.

    What is measured row by row is kept in a hidden file in the output folder: after an interruption the same request
    goes on with it.

    Raises:
        InputError: A folder, a file or a setting is wrong, or the results are there already.
    """
    if not list_parts(request.output / ROWS):
        check_unwritten(request.output / METRICS, request.overwrite)
    candidates, no_base = open_candidates(list(request.models), request.base)
    check_different(candidates, request.output)
    encoder = None if request.encoder is None else SentenceEncoder(Path(request.encoder))
    plan = request.plan if request.canaries is None else _add_canaries(request.plan, request.canaries)
    tokenizer = str(candidates[0].model.folder)
    data, name = open_data(request.data, "test", tokenizer, request.columns, "--data")
    rows = read_rows(data, "test", name).draw(request.limit, request.interval.seed)
    if not len(rows):
        raise InputError(f"--data {request.data} has no row with an answer.", "Name another table or run.")
    training = _read_training(request, candidates, tokenizer)
    human = None
    if request.human is not None:
        human = read_rows(open_data(request.human, "test", tokenizer, request.columns, "--human")[0], "test", "all")
    make_writable_folder(request.output, "--output DIR")
    part = PartFile(request.output / ROWS, identify_rows(candidates, rows, plan), request.overwrite)
    measured = MeasuredRows(candidates, rows, plan, part)
    try:
        if part.written:
            say(f"{len(part.written):,} of {measured.count:,} rows are measured already.")
        with show_progress("evaluate") as progress:
            measured.measure(progress)
            content = _analyze(request, plan, candidates, rows, training, human, encoder, measured, no_base, progress)
        _write(request, content, rows, candidates, measured)
        part.complete(measured.count)
    except BaseException:
        if part.written:
            say(f"{len(part.written):,} of {measured.count:,} rows are in {part.path}; the same command goes on.")
        raise
    finally:
        part.close()
    return content


def _analyze(
    request: Request,
    plan: Plan,
    candidates: list[Candidate],
    rows: Rows,
    training: Rows | None,
    human: Rows | None,
    encoder: SentenceEncoder | None,
    results: MeasuredRows,
    no_base: str,
    progress: Progress,
) -> dict[str, Any]:
    """Makes the content of `metrics.json` from measured rows."""
    region = resolve_file_region()
    verdicts = [triage(question, region) for question in rows.questions]
    measurer = AnswerMeasurer(rows, verdicts, None if training is None else training.references, encoder)
    pair = None if training is None else (training.questions, training.references)
    made = make_baselines(rows.questions, rows.references, rows.groups, pair, encoder, progress)
    found = {each.name: measure_candidate(each, results, plan, rows, measurer, progress) for each in candidates}
    if human is not None:
        made.answers.pop(HUMAN, None)
    found |= measure_baselines(made, measurer, progress)
    left_out = [no_base] * bool(no_base) + made.left_out
    if human is not None:
        found[HUMAN] = _measure_human(human, encoder, request.human, progress)
    elif HUMAN not in found:
        left_out.append("human: no question of the data has two answers; --human FILE names a table with such.")
    if encoder is None:
        left_out.append("bertscore_f1, similarity: no encoder is named; --encoder DIR does.")
    if training is None:
        left_out.append("copied_tokens, copied_share: no training rows are known; --train FILE or RUN names them.")
    settings = {
        "kinds": list(plan.kinds),
        **{name: getattr(plan, name) for name in ("max_new_tokens", "max_length", "sampling_seed")},
        "limit": request.limit,
        "region": region,
        "precision": "float32",
        "engine": "transformers",
        "device": identify_rows(candidates, rows, plan)["kind of device"],
        "encoder": None if encoder is None else encoder.digest,
        "training": None if training is None else training.describe(),
    }
    models = [each.name for each in candidates if not is_untuned(each.name)]
    content = make_results(rows, found, models, settings, left_out, request.interval, progress)
    return {**content, "detectors": measure_detectors()}


def _measure_human(human: Rows, encoder: SentenceEncoder | None, path: str | None, progress: Progress) -> Measured:
    """Measures one doctor's answers against another's, on rows of their own."""
    pairs = pair_answers(human.groups.tolist(), human.references)
    places = np.array([place for place, other in enumerate(pairs) if other is not None], np.int64)
    if not len(places):
        raise InputError(f"--human {path}: no question has two answers.", "Name a table where several doctors answer.")
    rows = human.select(places)
    measurer = AnswerMeasurer(rows, [triage(question) for question in rows.questions], None, encoder)
    measured = measurer.measure([pairs[place] for place in places], None, progress)
    return Measured(measured.statistics, groups=rows.groups, about={"rows": len(rows), "of": Path(str(path)).name})


def _read_training(request: Request, candidates: list[Candidate], tokenizer: str) -> Rows | None:
    """Returns the training rows: those that are named, those of the data's run, or those of the first model's run."""
    run = candidates[0].model.folder.resolve().parent
    path = request.train
    if path is None:
        path = next((str(each) for each in (Path(request.data), run) if find_run(each)), None)
    if path is None:
        return None
    columns = {} if find_run(Path(path)) else request.columns
    data, name = open_data(path, "train", tokenizer, columns, "--train")
    return read_rows(data, "train", name)


def _add_canaries(plan: Plan, path: Path) -> Plan:
    return replace(plan, canaries=tuple(read_canaries(path)))


def _write(
    request: Request, content: dict[str, Any], rows: Rows, candidates: list[Candidate], results: MeasuredRows
) -> None:
    """Writes the files, `metrics.json` last, then what is kept beside the models."""
    examples = choose_examples(rows, [each.name for each in candidates], results, request.interval.seed)
    write_html(content, examples, request.output / PAGE)
    write_markdown(content, request.output / TEXT)
    write_text(request.output / METRICS, format_results(content))
    for candidate in (each for each in candidates if not is_untuned(each.name)):
        folder, run = candidate.model.folder, find_logged_run(candidate.model.folder)
        if request.update_cards and candidate.model.settings:
            update_card(folder, candidate.name, content)
            say(f"model card: {folder / CARD}")
        if run is not None:
            try:
                log_results(run, content, candidate.name)
            except OSError as error:
                say(f"{run}: its TensorBoard gets no results: {error.strerror}.")
            else:
                say(f"tensorboard: {run}")
