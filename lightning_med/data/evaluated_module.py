"""EvaluatedDataModule: the part of the data module that serves validation, test and predict."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from lightning_med.data.batching.collate import Batch
from lightning_med.data.batching.loaders import LoaderFactory
from lightning_med.data.prepared_module import PreparedDataModule


class EvaluatedDataModule(PreparedDataModule):
    """Serves the rows of validation and test in their order.

    Attributes:
        padded: The least length of a padded row, `None` for flat batches; set by subclasses.
        num_workers: Processes that build batches; set by subclasses.
    """

    padded: int | None
    num_workers: int

    @property
    def batch_tokens(self) -> int:
        """Tokens a batch may hold."""
        raise NotImplementedError

    @property
    def ranks(self) -> int:
        """Processes that train together."""
        return 1 if self.trainer is None else int(self.trainer.world_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._make_evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._make_evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[list[dict[str, Any]]]:
        """Returns the test questions with their references."""
        device = "cpu" if self.trainer is None else self.trainer.strategy.root_device.type
        return self._loaders.make_question_loader(self.store("test"), self.select_rows("test"), device)

    def select_measured(self, split: str, limit: float) -> np.ndarray:
        """Returns the rows of a split that an evaluation measures under a trainer's limit.

        Args:
            split: Its name.
            limit: `limit_val_batches` or `limit_test_batches`: batches of each rank, or a share of them as a float.
        """
        rows = self.select_rows(split)
        if isinstance(limit, float) and limit == 1:  # 1 is one batch, 1.0 is all
            return rows
        plan = self._loaders.plan_evaluation(self.store(split), rows, self.batch_tokens)
        planned = len(plan) // self.ranks
        batches = min(planned, limit) if isinstance(limit, int) else int(planned * limit)
        return np.concatenate([rows[:0], *plan[: batches * self.ranks]])

    @property
    def _loaders(self) -> LoaderFactory:
        rank = 0 if self.trainer is None else int(self.trainer.global_rank)
        return LoaderFactory(self.padded, self.prepared.tokenizer.pad_token_id, self.num_workers, rank, self.ranks)

    def _make_evaluation_loader(self, split: str) -> DataLoader[Batch]:
        return self._loaders.make_evaluation_loader(self.store(split), self.select_rows(split), self.batch_tokens)
