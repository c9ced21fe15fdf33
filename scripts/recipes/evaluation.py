"""What the recipes reach: `lightning-med evaluate` on their exports, and its figures as a table and a picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from quickstart_parts.processes import run_child

from lightning_med.evaluation.baselines.names import UNTUNED
from lightning_med.evaluation.metric_list import find_metric
from lightning_med.utils.errors import InputError, RunError
from recipes.plans import NOTEBOOK, OURS, OURS_TOKENS, PLANS, RECIPES, RUN, TITLES

FOLDER, METRICS = "evaluation", "metrics.json"  # in a seed's folder, and in that one
SHOWN = ("bits_per_byte", "rougeL", "ended")
_DRAWN = SHOWN[:2]
_UNTUNED_TITLE = "untuned base"
_COLORS = {NOTEBOOK: "#9aa5b1", OURS: "#0b6e4f", OURS_TOKENS: "#5fae8f"}
Interval = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """The runs of one model and seed, and what `lightning-med evaluate` found.

    Attributes:
        model: A key of `PLANS`.
        seed: Of the runs.
        runs: `run.json` by recipe.
        metrics: `metrics.json`.
    """

    model: str
    seed: int
    runs: dict[str, dict[str, Any]]
    metrics: dict[str, Any]

    def get_interval(self, recipe: str, metric: str) -> Interval | None:
        """Returns value, low and high of a recipe's model, or of the untuned base."""
        models = {**self.metrics.get("baselines", {}), **self.metrics["models"]}
        found: Interval | None = models.get(recipe, {}).get(metric)
        return found

    def get_difference(self, recipe: str, metric: str) -> Interval | None:
        """Returns the entry that compares a recipe of ours with the notebook's, ours minus the notebook's."""
        for entry in self.metrics["differences"]:
            pair = entry["a"], entry["b"]
            if entry["metric"] == metric and pair == (recipe, NOTEBOOK):
                return dict(entry)
            if entry["metric"] == metric and pair == (NOTEBOOK, recipe):
                value, low, high = (None if entry[key] is None else -entry[key] for key in ("value", "high", "low"))
                return {**entry, "value": value, "low": low, "high": high}
        return None


def list_finished(output: Path) -> list[Path]:
    """Returns the folders of all models and seeds that every recipe has finished.

    Raises:
        InputError: There is none.
    """
    places = [(name, folder) for name in PLANS for folder in (output / name).glob("seed-*")]
    places.sort(key=lambda place: (list(PLANS).index(place[0]), int(place[1].name.removeprefix("seed-"))))
    found = [folder for _, folder in places if all((folder / recipe / RUN).is_file() for recipe in RECIPES)]
    if not found:
        raise InputError(f"--output {output} has no finished runs.", "Make them: compare_recipes.py train")
    return found


def evaluate_all(output: Path, more: dict[str, Any]) -> None:
    """Runs `lightning-med evaluate` on the exports of each model and seed, which measures no model twice.

    Args:
        output: Folder of all runs.
        more: Options of `evaluate` by name, `None` for none; the base is measured where it was tuned.

    Raises:
        RunError: An evaluation failed.
    """
    for folder in list_finished(output):
        run = folder / json.loads((folder / OURS / RUN).read_text(encoding="utf-8"))["run"]
        others = [folder / OURS_TOKENS, folder / NOTEBOOK]
        words = [
            "--model",
            folder / OURS,
            "--compare",
            *others,
            "--data",
            run,
            "--output",
            folder / FOLDER,
            "--overwrite",
        ]
        for name, value in more.items():
            if value is not None and (name != "base" or PLANS[folder.parent.name].needs_base):
                words += [f"--{name}", value]
        status, _ = run_child(["-m", "lightning_med", "evaluate", *map(str, words)])
        if status:
            raise RunError(f"The evaluation of {folder} failed.", "Its messages are above.")


def report(output: Path, picture: Path | None) -> None:
    """Prints the tables, and draws the picture where a file is named.

    Raises:
        InputError: Nothing is evaluated, or matplotlib is not installed.
    """
    comparisons = [_read(folder) for folder in list_finished(output) if (folder / FOLDER / METRICS).is_file()]
    if not comparisons:
        raise InputError(f"--output {output} has no evaluation.", "Make it: compare_recipes.py evaluate")
    sys.stdout.write(f"{format_table(comparisons)}\n\n{format_differences(comparisons)}\n")
    if picture is not None:
        draw_picture(comparisons, picture)


def _read(folder: Path) -> Comparison:
    runs = {recipe: json.loads((folder / recipe / RUN).read_text(encoding="utf-8")) for recipe in RECIPES}
    metrics = json.loads((folder / FOLDER / METRICS).read_text(encoding="utf-8"))
    return Comparison(folder.parent.name, int(folder.name.removeprefix("seed-")), runs, metrics)


def format_table(comparisons: list[Comparison]) -> str:
    """Returns a row for each run, and one for each recipe over the seeds with the least and the greatest value."""
    titles = [find_metric(name).title for name in SHOWN]
    fixed = ["model", "seed", "recipe", "steps", "useful tokens", "seconds", "validation perplexity"]
    lines = ["| " + " | ".join([*fixed, *titles]) + " |", "|---" * (len(fixed) + len(titles)) + "|"]
    for group in _group(comparisons):
        for one in group:
            cells = [_format_interval(name, one.get_interval(UNTUNED, name)) for name in SHOWN]
            if any(cells):
                lines.append(_join(one.model, one.seed, _UNTUNED_TITLE, "", "", "", "", *cells))
            for recipe, run in one.runs.items():
                work = f"{run['steps']:,}", f"{run['useful_tokens']:,}", f"{run['seconds']:,.0f}"
                cells = [_format_interval(name, one.get_interval(recipe, name)) for name in SHOWN]
                perplexity = f"{run['val_perplexity']:.2f}"
                lines.append(_join(one.model, one.seed, TITLES[recipe], *work, perplexity, *cells))
        if len(group) > 1:
            lines += [_format_mean(group, recipe) for recipe in RECIPES]
    return "\n".join(lines)


def format_differences(comparisons: list[Comparison]) -> str:
    """Returns a table of ours minus the notebook's, each with its interval and adjusted p."""
    lines = ["| model | seed | difference | metric | value | adjusted p |", "|---|---|---|---|---|---|"]
    for one in comparisons:
        for recipe in (OURS, OURS_TOKENS):
            for name in SHOWN:
                entry = one.get_difference(recipe, name)
                if entry is not None:
                    p = "" if entry.get("adjusted_p") is None else f"{entry['adjusted_p']:.3g}"
                    difference, title = f"{TITLES[recipe]} - {TITLES[NOTEBOOK]}", find_metric(name).title
                    lines.append(_join(one.model, one.seed, difference, title, _format_interval(name, entry, "+"), p))
    return "\n".join(lines)


def draw_picture(comparisons: list[Comparison], path: Path) -> None:
    """Draws a panel for each model and metric: each run's value with its interval, the seeds side by side.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("matplotlib is not installed.", "pip install -e '.[bench]'") from error
    groups = list(_group(comparisons))
    figure = Figure(figsize=(4 * len(_DRAWN), 2.8 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), len(_DRAWN), squeeze=False)
    for line, group in zip(panels, groups, strict=True):
        for axes, name in zip(line, _DRAWN, strict=True):
            metric = find_metric(name)
            for place, recipe in enumerate(RECIPES):
                for number, one in enumerate(group):
                    interval = one.get_interval(recipe, name)
                    if interval is not None:
                        value, low, high = (interval[key] for key in ("value", "low", "high"))
                        x = place + 0.15 * (number - (len(group) - 1) / 2)
                        axes.errorbar(x, value, [[value - low], [high - value]], fmt="o", color=_COLORS[recipe])
            axes.set_xticks(range(len(RECIPES)), [TITLES[recipe].replace(", ", ",\n") for recipe in RECIPES])
            axes.set_xlim(-0.5, len(RECIPES) - 0.5)
            axes.set_title(f"{metric.title} ({metric.better} is better)", fontsize=9)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=8)
        line[0].set_ylabel(PLANS[group[0].model].title.replace(", ", ",\n"), fontsize=8)
    figure.savefig(path, dpi=130)


def _group(comparisons: list[Comparison]) -> Iterator[list[Comparison]]:
    """Yields the comparisons of each model."""
    for model in PLANS:
        if group := [one for one in comparisons if one.model == model]:
            yield group


def _format_mean(group: list[Comparison], recipe: str) -> str:
    """The mean over the seeds, between the least and the greatest value."""
    runs = [one.runs[recipe] for one in group]
    means = {key: mean(run[key] for run in runs) for key in ("steps", "useful_tokens", "seconds", "val_perplexity")}
    cells = []
    for name in SHOWN:
        values = [found["value"] for one in group if (found := one.get_interval(recipe, name)) is not None]
        span = {"value": mean(values), "low": min(values), "high": max(values)} if values else None
        cells.append(_format_interval(name, span))
    work = (f"{means[key]:,.0f}" for key in ("steps", "useful_tokens", "seconds"))
    title = f"{TITLES[recipe]}, mean (least to greatest)"
    perplexity = f"{means['val_perplexity']:.2f}"
    return _join(group[0].model, f"{len(group)} seeds", title, *work, perplexity, *cells)


def _format_interval(metric: str, interval: Interval | None, sign: str = "") -> str:
    if interval is None or interval["value"] is None:
        return ""
    form = f"{sign}{find_metric(metric).form}"
    value = format(interval["value"], form)
    if interval.get("low") is None:
        return value
    return f"{value} ({interval['low']:{form}} to {interval['high']:{form}})"


def _join(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
