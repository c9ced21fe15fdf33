"""Weights sharded over ranks (FSDP2; Zhao et al., 2023), for bases that one GPU does not hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from transformers import PreTrainedModel

from lightning_med.checkpoints.reading import read_checkpoint
from lightning_med.training.patches.command import set_parallel_sizes


def shard_weights(network: PreTrainedModel, mesh: DeviceMesh) -> None:
    """Shards a network in place: each block's weights are gathered only while it computes.

    Args:
        network: With the same weights on every rank.
        mesh: The ranks that share them.
    """
    base = network.base_model
    for blocks in (module for module in base.children() if isinstance(module, nn.ModuleList)):
        for block in blocks:
            fully_shard(block, mesh=mesh)
    # The body, not the whole network: the loss calls the body, then reads the output layer's weight, which is tied to
    # the embedding, gathered by then, and stays so until the backward pass.
    tied = network.get_output_embeddings().weight is network.get_input_embeddings().weight
    fully_shard(base, mesh=mesh, reshard_after_forward=False)
    if tied:
        network.get_output_embeddings().weight = network.get_input_embeddings().weight


class ShardedStrategy(ModelParallelStrategy):
    """All ranks share one copy of weights, gradients and optimizer state; checkpoints are those of a single process.

    `--trainer.strategy sharded`. Rank 0's host memory must hold a whole checkpoint while one is made.
    """

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False)
        self.check_content: Callable[[dict[str, Any]], None] | None = None  # called before a checkpoint is loaded

    def setup_environment(self) -> None:
        set_parallel_sizes(self)
        super().setup_environment()

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        if self.is_global_zero:  # the other ranks hold nothing of it
            self.checkpoint_io.save_checkpoint(checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        content = read_checkpoint(checkpoint_path)  # refuses a damaged file before the ranks load their shares of it
        if self.check_content is not None:
            self.check_content(content)
        return super().load_checkpoint(checkpoint_path, weights_only=True)


StrategyRegistry.register("sharded", ShardedStrategy, description="weights sharded over all ranks (FSDP2)")
