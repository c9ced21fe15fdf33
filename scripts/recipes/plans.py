"""What is trained: the models, their data and settings, and the folders of the runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_med.data.module import DialogueDataModule

NOTEBOOK, OURS, OURS_TOKENS = "notebook", "ours", "ours_tokens"
RECIPES = (NOTEBOOK, OURS, OURS_TOKENS)  # in their order: the last one needs to know what the first one saw
TITLES = {NOTEBOOK: "notebook", OURS: "ours, equal time", OURS_TOKENS: "ours, equal tokens"}
RUN = "run.json"  # of a finished run, in its export
PRECISION = "bf16-mixed"
LENGTH = 512  # tokens of a training row at most; the notebook pads to it


@dataclass(frozen=True)
class Plan:
    """A model that both recipes train.

    Args:
        title: For tables.
        seconds: Default budget, see `recipes.clock.ProcessorClock`.
        seeds: Of the split, the order of the rows and random weights.
        data: Settings of `DialogueDataModule`, for both recipes.
        model: Settings of `DialogueLM`, for ours.
        calibration: Steps that are timed before each run.
        needs_base: It starts from the weights of a base.
    """

    title: str
    seconds: float
    seeds: tuple[int, ...]
    data: dict[str, Any]
    model: dict[str, Any]
    calibration: int
    needs_base: bool = False


_DATA = {"max_length": LENGTH, "eval_max_length": 1024, "batch_tokens": 2048}
_NETWORK = {"n_layer": 2, "n_embd": 128, "n_head": 4, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
PLANS = {
    "small": Plan(
        "GPT-2 of 1.1 million weights, from scratch",
        100.0,
        (42, 43, 44),
        {**_DATA, "tokenizer": "train", "vocab_size": 4096},
        {"base": None, "from_scratch": _NETWORK, "lr": 2e-3, "warmup_fraction": 0.1},
        40,
    ),
    "smollm2": Plan(
        "SmolLM2-135M-Instruct",
        1200.0,
        (42,),
        {**_DATA, "rules": {"lost_words": True, "cut_answer": True}},
        {"lr": 1e-4},
        6,
        needs_base=True,
    ),
}


@dataclass(frozen=True)
class Task:
    """One model with one seed, trained by each recipe.

    Args:
        output: Folder of all runs.
        name: Of the plan.
        seed: See `Plan.seeds`.
        source: The table of consultations.
        base: Folder of the base, where the plan needs one.
        seconds: The budget.
    """

    output: Path
    name: str
    seed: int
    source: Path
    base: Path | None
    seconds: float
    plan: Plan = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plan", PLANS[self.name])

    @property
    def folder(self) -> Path:
        return self.output / self.name / f"seed-{self.seed}"

    def get_export(self, recipe: str) -> Path:
        """Returns the folder of a recipe's model, which has `run.json` once the run is finished."""
        return self.folder / recipe

    @property
    def data_settings(self) -> dict[str, Any]:
        """Settings of `DialogueDataModule`."""
        base = {"tokenizer": str(self.base)} if self.plan.needs_base else {}
        shared = {"source": str(self.source), "seed": self.seed, "cache_dir": str(self.output / "cache")}
        return {**self.plan.data, **base, **shared}

    @property
    def model_settings(self) -> dict[str, Any]:
        """Settings of `DialogueLM`."""
        return {**self.plan.model, **({"base": str(self.base)} if self.plan.needs_base else {})}

    def open_data(self) -> DialogueDataModule:
        """Returns the prepared data; both recipes see these rows, this split and these token ids."""
        data = DialogueDataModule(**self.data_settings)
        data.prepare_data()
        data.setup()
        return data
