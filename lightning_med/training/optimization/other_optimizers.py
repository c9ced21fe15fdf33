"""Optimizers other than ours: of a subclass of DialogueLM, or named in the settings as in LightningCLI."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from lightning.pytorch.cli import instantiate_class
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_med.utils.errors import InputError

MONITORED = ("val/loss", "val/perplexity", "val/bits_per_byte")  # measured by each validation; lower is better
_ONE = (
    "A step's loss is a mean over its tokens only where the trainer steps one optimizer: return one, with groups of"
    " weights if they are to be trained differently."
)


def require_one_optimizer(configure: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `configure_optimizers`, so that it is refused to return none or several.

    A batch returns its share of its step's loss: it becomes a mean over the step's tokens only under the trainer's
    automatic optimization, which steps one optimizer.
    """

    @wraps(configure)
    def checked(module: Any) -> Any:
        check_automatic(module)
        configured = configure(module)
        number = _count_optimizers(configured)
        if number != 1:
            name = f"{type(module).__name__}.configure_optimizers"
            raise InputError(f"{name} returns {number} optimizers.", _ONE)
        return configured

    return checked


def check_automatic(module: Any) -> None:
    """Checks that the trainer steps a module's optimizer.

    Raises:
        InputError: `automatic_optimization` is off.
    """
    if not module.automatic_optimization:
        raise InputError(f"{type(module).__name__}.automatic_optimization is off.", _ONE)


def _count_optimizers(configured: Any) -> int:
    """Counts the optimizers in any of the shapes that Lightning takes."""
    if isinstance(configured, dict):
        return _count_optimizers(configured.get("optimizer"))
    if isinstance(configured, (list, tuple)):
        return sum(map(_count_optimizers, configured))
    return int(isinstance(configured, Optimizer))


@dataclass(frozen=True)
class NamedOptimizer:
    """An optimizer and its schedule, as `--optimizer` and `--lr_scheduler` name them.

    Args:
        optimizer: Its `class_path` and `init_args`.
        schedule: Likewise; `None` for a constant rate.
        interval: `step` or `epoch`: after which of them the schedule moves on.
        frequency: After how many of them.
    """

    optimizer: dict[str, Any]
    schedule: dict[str, Any] | None = None
    interval: str = "epoch"
    frequency: int = 1

    def __str__(self) -> str:
        if self.schedule is None:
            return f"{self.optimizer['class_path']}, at a constant rate"
        return f"{self.optimizer['class_path']}, {self.schedule['class_path']} by the {self.interval}"

    @property
    def monitored(self) -> str | None:
        """The metric that the schedule watches, if it is a `ReduceLROnPlateau`."""
        return (self.schedule or {}).get("init_args", {}).get("monitor")

    def configure(self, module: Any) -> dict[str, Any]:
        """Does the work of `configure_optimizers` for a DialogueLM under its trainer.

        Raises:
            InputError: The schedule ends before the fit.
        """
        count = module.total_steps if self.interval == "step" else module.trainer.max_epochs
        on_gpu = module.trainer.strategy.root_device.type == "cuda"
        self.rehearse(count if count and count > 0 else 1, on_gpu)
        return self._make([weight for weight in module.parameters() if weight.requires_grad])

    def _make(self, parameters: Iterable[Tensor]) -> dict[str, Any]:
        optimizer = _instantiate(self.optimizer, parameters)
        if self.schedule is None:
            return {"optimizer": optimizer}
        schedule = _instantiate(self.schedule, optimizer)
        config = {"scheduler": schedule, "interval": self.interval, "frequency": self.frequency}
        if isinstance(schedule, ReduceLROnPlateau):
            config["monitor"] = getattr(schedule, "monitor", None)
        return {"optimizer": optimizer, "lr_scheduler": config}

    def rehearse(self, count: int = 1, on_gpu: bool = False) -> None:
        """Makes both for two small tensors, and takes one optimizer step and `count` of the schedule.

        Args:
            count: Steps of the schedule.
            on_gpu: The weights will be on a GPU.

        Raises:
            InputError: One of them cannot be made or used so.
        """
        weights = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        evaluations = 0

        def closure() -> Tensor:
            nonlocal evaluations
            evaluations += 1
            return torch.zeros(())

        made = self._make(weights)
        if not made["optimizer"].defaults.get("capturable"):
            with _explain_errors(self.optimizer):
                made["optimizer"].step(closure)
        elif not on_gpu:
            raise InputError(
                f"{self.optimizer['class_path']}: capturable needs a GPU.", "Leave --optimizer.capturable out."
            )
        if evaluations > 1:
            raise InputError(
                f"{self.optimizer['class_path']} computes the loss several times in a step; here a batch counts once.",
                "Name one that computes it once, for instance torch.optim.AdamW.",
            )
        if self.schedule is not None:
            with _explain_errors(self.schedule):
                self._rehearse_schedule(made["lr_scheduler"], count)

    def _rehearse_schedule(self, config: dict[str, Any], count: int) -> None:
        schedule = config["scheduler"]
        if not isinstance(schedule, ReduceLROnPlateau):
            for _ in range(count):
                schedule.step()
            return
        if config["monitor"] not in MONITORED:
            raise InputError(
                f"ReduceLROnPlateau cannot monitor {config['monitor']}.",
                f"--lr_scheduler ReduceLROnPlateau --lr_scheduler.monitor one of {', '.join(MONITORED)}",
            )
        if self.interval == "step":
            raise InputError(
                "ReduceLROnPlateau judges once an epoch, not by the step.", "Leave --lr_scheduler_interval step out."
            )


def _instantiate(named: dict[str, Any], argument: Any) -> Any:
    with _explain_errors(named):
        return instantiate_class(argument, named)


@contextmanager
def _explain_errors(named: dict[str, Any]) -> Iterator[None]:
    """Turns whatever a named class raises into two lines."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        what = f"{named['class_path']}: {error or type(error).__name__}"
        raise InputError(what, "Change its arguments, or name another class.") from error
