"""`evaluate`: from folders of models and a table to `metrics.json` and the report."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lightning_med.checkpoints.run_folder import find_run_around
from lightning_med.evaluation.analysis import Material, analyze
from lightning_med.evaluation.candidates import check_candidates, open_candidates
from lightning_med.evaluation.measured_rows import MeasuredRows, Plan
from lightning_med.evaluation.memory.canaries import read_canaries
from lightning_med.evaluation.report.event_file import log_results
from lightning_med.evaluation.report.html_report import write_html
from lightning_med.evaluation.report.markdown_report import write_markdown
from lightning_med.evaluation.report.model_card import CARD, update_card
from lightning_med.evaluation.results.comparisons import Interval
from lightning_med.evaluation.results.content import format_results
from lightning_med.evaluation.results.examples import choose_examples
from lightning_med.evaluation.rows import Columns, Rows, find_run, open_data, read_rows
from lightning_med.evaluation.text.encoder import SentenceEncoder
from lightning_med.inference.part_file import PartFile, list_parts
from lightning_med.utils.console import print_progress, say, show_progress
from lightning_med.utils.errors import InputError, RunError
from lightning_med.utils.files import make_writable_folder, write_text

_FIRST = -1  # the key of the line that says what the rows are of
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
    if (request.output / METRICS).exists() and not (request.overwrite or list_parts(request.output / ROWS)):
        raise InputError(
            f"{request.output / METRICS} is there already, complete.",
            "Replace it: --overwrite, which keeps the rows of the same models and data; or --output ANOTHER_DIR",
        )
    material = _read_material(request)
    make_writable_folder(request.output, "--output DIR")
    identity = material.identify()
    part = PartFile(request.output / ROWS, identity, request.overwrite)
    measured = MeasuredRows(material.candidates, material.rows, material.plan, part)
    try:
        if not part.written:
            measured.take(_read_earlier(request.output / ROWS, identity))
        if part.written:
            say(f"{len(part.written):,} of {measured.count:,} measurements are there already.")
        with show_progress("evaluate") as bar:
            progress = print_progress(bar)
            measured.measure(progress)
            content = analyze(material, measured, progress)
        part.append({_FIRST: {"rows_of": identity}})  # the first line of the file
        part.complete(measured.count + 1)
        _write(request, content, material, measured)
    except OSError as error:
        raise RunError(
            f"{error.filename or request.output} cannot be written: {error.strerror}.",
            "What was measured before is kept: fix it, and the same command goes on.",
        ) from error
    except BaseException:
        if part.written:
            there = f"{len(part.written):,} of {measured.count:,} measurements (models x kinds x rows)"
            say(f"{there} are in {part.path}; the same command goes on.")
        raise
    finally:
        part.close()
    _add_to_models(request, content, material)
    return content


def _read_material(request: Request) -> Material:
    """Opens and checks all that the request names, before anything is measured."""
    _check_columns(request)
    candidates, no_base = open_candidates(list(request.models), request.base)
    check_candidates(candidates, request.output, request.plan.max_length)
    if request.update_cards and request.limit is not None:
        raise InputError("--update_cards does not go with --limit.", "A model card shows figures on all rows.")
    if request.update_cards:
        for each in candidates[: len(request.models)]:
            if not (each.model.settings and (each.model.folder / CARD).is_file()):
                raise InputError(
                    f"--update_cards: {each.model.folder} is no export with a model card.",
                    "Leave --update_cards out, or compare exports alone.",
                )
    encoder = None if request.encoder is None else SentenceEncoder(Path(request.encoder))
    plan = request.plan
    if request.canaries is not None:
        plan = replace(plan, canaries=tuple(read_canaries(request.canaries)))
    tokenizer = str(candidates[0].model.folder)
    data, name = open_data(request.data, "test", tokenizer, request.columns, "--data")
    rows = read_rows(data, "test", name).draw(request.limit, request.interval.seed)
    if not len(rows):
        raise InputError(f"--data {request.data} has no row with an answer.", "Name another table or run.")
    human = None
    if request.human is not None:
        found = open_data(request.human, "test", tokenizer, request.columns, "--human")
        human = read_rows(found[0], "test", "all"), request.human
    training, no_training = _read_training(request, candidates[0].model.folder.resolve().parent, tokenizer)
    settings = (request.interval, request.limit)
    return Material(candidates, rows, plan, *settings, training, human, encoder, no_base, no_training)


def _check_columns(request: Request) -> None:
    """Refuses columns where no table is read.

    Raises:
        InputError: It is so.
    """
    tables = [path for path in (request.data, request.train, request.human) if path and not find_run(Path(path))]
    if request.columns and not tables:
        raise InputError(
            f"--{next(iter(request.columns))} does not go with the run {request.data}.", "A run has its own columns."
        )


def _read_training(request: Request, run: Path, tokenizer: str) -> tuple[Rows | None, str]:
    """Returns the training rows, of what is named, of the data's run, or of the first model's run; or why not."""
    path = request.train or next((str(each) for each in (Path(request.data), run) if find_run(each)), None)
    if path is None:
        return None, "no training rows are known; --train FILE or RUN names them."
    try:
        data, name = open_data(path, "train", tokenizer, request.columns, "--train")
        return read_rows(data, "train", name), ""
    except InputError as error:
        if request.train is not None:
            raise
        return None, f"the training rows of {path} cannot be read: {error.what} --train FILE or RUN names others."


def _read_earlier(path: Path, identity: dict[str, str]) -> list[dict[str, Any]]:
    """Returns the rows of a complete file, if it is of the same models, rows and settings."""
    try:
        first, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line)
        return lines if first["rows_of"] == identity else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _write(request: Request, content: dict[str, Any], material: Material, results: MeasuredRows) -> None:
    """Writes the files of the results, `metrics.json` last."""
    names = [each.name for each in material.candidates]
    examples = choose_examples(material.rows, names, results, request.interval.seed)
    write_html(content, examples, request.output / PAGE)
    write_markdown(content, request.output / TEXT)
    write_text(request.output / METRICS, format_results(content))


def _add_to_models(request: Request, content: dict[str, Any], material: Material) -> None:
    """Writes the figures into the model cards, where that is asked for, and into the TensorBoard of the runs."""
    logged: set[Path] = set()
    for candidate in material.models:
        folder, run = candidate.model.folder, find_run_around(candidate.model.folder)
        if request.update_cards:
            update_card(folder, candidate.name, content)
            say(f"model card: {folder / CARD}")
        config = find_run(Path(request.data))
        own = config is not None and run is not None and config.resolve().parent == run
        whole = request.limit is None and set(request.plan.kinds) == set(Plan().kinds)
        if run is None or run in logged:  # a second export of a run does not replace the first
            continue
        if not (own and whole):
            say(f"{run}: its TensorBoard is left as it is; it takes all figures on all rows of the run's test split.")
            continue
        logged.add(run)
        try:
            log_results(run, content, candidate.name)
        except OSError as error:
            say(f"{run}: its TensorBoard gets no results: {error.strerror}.")
        else:
            say(f"tensorboard: {run}")
