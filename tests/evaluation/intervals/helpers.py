"""Two models that are equal in truth, by metrics such as an evaluation has."""

from __future__ import annotations

import numpy as np

from lightning_med.evaluation.metric_list import HIGHER
from lightning_med.evaluation.statistic import Statistic, make_mean, make_ratio


def make_equal_pair(random: np.random.Generator, groups: np.ndarray, alike: float) -> list[dict[str, Statistic]]:
    """Returns the statistics of two models whose rows are drawn alike: 35 correlated metrics, most of them skewed.

    Args:
        random: Draws.
        groups: `[rows]`; a model answers the rows of one group alike.
        alike: Share of the rows on which both give the same answer.
    """
    rows = len(groups)
    difficulty, tokens = random.normal(size=rows), np.ceil(random.lognormal(4.3, 0.6, rows))
    same = random.random(rows) < alike
    quality = random.normal(size=(2, 1, groups.max() + 1))[..., groups]  # of a model's answers to one question
    share = random.uniform(0.3, 1, (35, 1))  # of a metric that this quality makes up, beside noise
    own = share * quality + np.sqrt(1 - share**2) * random.normal(size=(2, 35, rows))
    own[1] = np.where(same, own[0], own[1])
    return [_make_statistics(model + 0.6 * difficulty, tokens) for model in own]


def _make_statistics(quality: np.ndarray, tokens: np.ndarray) -> dict[str, Statistic]:
    losses = [tokens * 2.8 * np.exp(0.3 * row) for row in quality[:10]]
    statistics = {f"loss{place}": make_ratio(nats, tokens) for place, nats in enumerate(losses[1:])}
    statistics["perplexity"] = Statistic(np.stack([losses[0], tokens], 1), _find_perplexity)
    statistics |= {f"overlap{place}": make_mean(np.exp(0.6 * row)) for place, row in enumerate(quality[10:22])}
    statistics |= {f"rare{place}": make_mean(row > 2.4) for place, row in enumerate(quality[22:30])}
    statistics |= {f"often{place}": make_mean(row > 1) for place, row in enumerate(quality[30:34])}
    statistics["some_rows"] = make_mean(np.where(tokens > 80, quality[34] > 0.5, np.nan))
    return statistics


def _find_perplexity(sums: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(sums[..., 0] / sums[..., 1]))


class AnyMetric(dict[str, str]):
    """Says of any metric that more is better."""

    def __missing__(self, name: str) -> str:
        return HIGHER
