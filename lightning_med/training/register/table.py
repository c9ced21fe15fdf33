"""What becomes of each option of Lightning 2.6; docs/trainer_options.md shows the same table.

A test compares the names with those of the installed release, and fails where one is missing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What becomes of an option."""

    HONOURED = "honoured"  # it does what Lightning's documentation says, and the numbers stay exact
    REFUSED = "refused"  # before any work, with what to use instead
    INDIFFERENT = "indifferent"  # losses, weights and the order of the rows do not depend on it
    NOT_RUN = "not run here"  # it is passed on; nobody has tried it with this package


@dataclass(frozen=True)
class Option:
    """An option.

    Attributes:
        kind: What becomes of it.
        note: What it does here; of a refused one, what to use instead, as a sentence.
        package: The Python module that it needs beside ours, if any.
    """

    kind: Kind
    note: str
    package: str = ""


def _honoured(note: str) -> Option:
    return Option(Kind.HONOURED, note)


def _refused(note: str) -> Option:
    return Option(Kind.REFUSED, note)


def _indifferent(note: str) -> Option:
    return Option(Kind.INDIFFERENT, note)


def _not_run(note: str, package: str = "") -> Option:
    return Option(Kind.NOT_RUN, note, package)


_DDP = "--trainer.strategy ddp starts each rank as a process of its own."
_SHARDED = "--trainer.strategy sharded shares the weights among the ranks."
_TRIAL = "--trainer.fast_dev_run 5 runs a few batches and keeps nothing."
_OWN_FILES = "Leave it out: checkpoints are written atomically and in the background already."
_BY_PRECISION = "Name the precision: --trainer.precision 16-mixed"
_FREEZE = "--model.freeze names weights that are not trained."

ARGUMENTS = {
    "accelerator": _honoured("cpu or a GPU of CUDA"),
    "strategy": _honoured("one device, ddp, or sharded"),
    "devices": _honoured("a step is the mean over the tokens of all devices"),
    "num_nodes": _not_run("several machines"),
    "precision": _honoured("see the precisions"),
    "logger": _honoured("beside our own; false for none"),
    "callbacks": _honoured("beside our own"),
    "fast_dev_run": _honoured("a trial of so many batches, which keeps nothing"),
    "max_epochs": _honoured("the schedule ends there; -1 for no end"),
    "min_epochs": _honoured("the least before an early stop"),
    "max_steps": _honoured("optimizer steps; the schedule ends there"),
    "min_steps": _honoured("the least before an early stop"),
    "max_time": _honoured("of one command; the run is not finished then and can be resumed"),
    "limit_train_batches": _honoured("so many batches of each epoch; their last step divides by its own tokens"),
    "limit_val_batches": _honoured("so many batches of each validation"),
    "limit_test_batches": _honoured("so many batches of the test split"),
    "limit_predict_batches": _honoured("so many batches of questions"),
    "overfit_batches": _honoured("the same batches in every epoch, without shuffling"),
    "val_check_interval": _honoured("in batches or a share of an epoch, from the end of the step; not by the clock"),
    "check_val_every_n_epoch": _honoured("null counts batches across epochs"),
    "num_sanity_val_steps": _indifferent("a trial validation before the first step"),
    "log_every_n_steps": _honoured("0 logs nothing of the training"),
    "enable_checkpointing": _refused("Leave it out: a fit always keeps its last step."),
    "enable_progress_bar": _honoured("false prints lines in its place"),
    "enable_model_summary": _indifferent("a table of the layers"),
    "accumulate_grad_batches": _honoured("batches of a step, whose loss is the mean over its tokens"),
    "gradient_clip_val": _honoured("0 or less is off"),
    "gradient_clip_algorithm": _honoured("norm or value"),
    "deterministic": _indifferent("on a CPU; on a GPU sums repeat to the bit"),
    "benchmark": _indifferent("convolutions only, and there are none"),
    "inference_mode": _indifferent("evaluations take no gradients either way"),
    "use_distributed_sampler": _indifferent("the data module shares the batches among the ranks"),
    "profiler": _indifferent("measures"),
    "detect_anomaly": _indifferent("names the operation of a gradient that is not finite"),
    "barebones": _refused(_TRIAL),
    "plugins": _honoured("see the plugins"),
    "sync_batchnorm": _indifferent("decoders have no batch norm"),
    "reload_dataloaders_every_n_epochs": _indifferent("every epoch has a loader of its own"),
    "default_root_dir": _honoured("where lightning_logs lies"),
    "enable_autolog_hparams": _indifferent("our own callback writes the settings"),
    "model_registry": _refused("Leave it out: export the model and upload that folder."),
}

PRECISIONS = {
    "32-true": _honoured("float32"),
    "16-mixed": _honoured("float16 on a GPU; on a CPU bf16-mixed or 32-true, whichever is faster"),
    "bf16-mixed": _honoured("bfloat16 in the products, weights in float32"),
    "bf16-true": _honoured("weights in bfloat16 as well: updates below 1/256 of a weight are lost"),
    "64-true": _honoured("float64"),
    "16-true": _refused(_BY_PRECISION + "; AdamW's averages underflow in float16."),
    "transformer-engine": _not_run("FP8 on an H100", "transformer_engine"),
    "transformer-engine-float16": _not_run("FP8 on an H100", "transformer_engine"),
}

CALLBACKS = {
    "BackboneFinetuning": _refused(_FREEZE),
    "BaseFinetuning": _refused(_FREEZE),
    "BasePredictionWriter": _refused("`predict` writes each answer as it comes: --output FILE"),
    "BatchSizeFinder": _refused("--data.batch_tokens auto measures what fits."),
    "DeviceStatsMonitor": _indifferent("logs what the device reports"),
    "EarlyStopping": _honoured("monitors what is logged; a run that it stopped is finished"),
    "GradientAccumulationScheduler": _honoured("batches of a step by epoch; the schedule knows"),
    "LambdaCallback": _honoured("functions of your own, from Python"),
    "LearningRateFinder": _refused("Compare short runs with different --model.lr: the settings would lack its pick."),
    "LearningRateMonitor": _indifferent("logs the rate"),
    "ModelCheckpoint": _honoured("writes files of its own, by default into model_checkpoints of the run"),
    "ModelPruning": _refused("Leave it out: exports would lack its masks."),
    "ModelSummary": _indifferent("a table of the layers"),
    "OnExceptionCheckpoint": _refused("--checkpoint_every N saves; after an error a state may not be whole."),
    "ProgressBar": _honoured("in place of ours"),
    "RichModelSummary": _indifferent("a table of the layers"),
    "RichProgressBar": _honoured("in place of ours"),
    "StochasticWeightAveraging": _refused("lightning.pytorch.callbacks.EMAWeightAveraging averages the weights."),
    "SpikeDetection": _refused("Leave it out: train/spikes counts them, and they are printed."),
    "ThroughputMonitor": _refused("Leave it out: train/tokens_per_second and train/utilisation are logged."),
    "Timer": _honoured("as max_time"),
    "TQDMProgressBar": _honoured("in place of ours"),
    "EMAWeightAveraging": _honoured("checkpoints hold the average; validations use it"),
    "WeightAveraging": _honoured("checkpoints hold the average; validations use it"),
}

LOGGERS = {
    "CSVLogger": _honoured("a second metrics.csv"),
    "TensorBoardLogger": _honoured("events in a second place"),
    "MLFlowLogger": _not_run("gets metrics and settings; --logger mlflow is tested", "mlflow"),
    "WandbLogger": _not_run("gets metrics and settings; --logger wandb is tested", "wandb"),
    "CometLogger": _not_run("gets metrics and settings", "comet_ml"),
    "LitLogger": _not_run("gets metrics and settings", "litlogger"),
}

STRATEGIES = {
    "auto": _honoured("one device, or ddp"),
    "single_device": _honoured("one device"),
    "SingleDeviceStrategy": _honoured("one device"),
    "ddp": _honoured("each rank has all weights"),
    "DDPStrategy": _honoured("each rank has all weights"),
    "ddp_find_unused_parameters_false": _not_run("as ddp"),
    "ddp_find_unused_parameters_true": _not_run("as ddp"),
    "ddp_spawn": _refused(_DDP),
    "ddp_spawn_find_unused_parameters_false": _refused(_DDP),
    "ddp_spawn_find_unused_parameters_true": _refused(_DDP),
    "ddp_fork": _refused(_DDP),
    "ddp_fork_find_unused_parameters_false": _refused(_DDP),
    "ddp_fork_find_unused_parameters_true": _refused(_DDP),
    "ddp_notebook": _refused(_DDP),
    "ddp_notebook_find_unused_parameters_false": _refused(_DDP),
    "ddp_notebook_find_unused_parameters_true": _refused(_DDP),
    "fsdp": _refused(_SHARDED),
    "fsdp_cpu_offload": _refused(_SHARDED),
    "FSDPStrategy": _refused(_SHARDED),
    "ModelParallelStrategy": _refused(_SHARDED),
    "deepspeed": _not_run("DeepSpeed", "deepspeed"),
    "deepspeed_stage_1": _not_run("DeepSpeed", "deepspeed"),
    "deepspeed_stage_2": _not_run("DeepSpeed", "deepspeed"),
    "deepspeed_stage_2_offload": _not_run("DeepSpeed", "deepspeed"),
    "deepspeed_stage_3": _not_run("DeepSpeed", "deepspeed"),
    "deepspeed_stage_3_offload": _not_run("DeepSpeed", "deepspeed"),
    "deepspeed_stage_3_offload_nvme": _not_run("DeepSpeed", "deepspeed"),
    "DeepSpeedStrategy": _not_run("DeepSpeed", "deepspeed"),
    "single_tpu": _not_run("TPUs", "torch_xla"),
    "single_xla": _not_run("TPUs", "torch_xla"),
    "xla": _not_run("TPUs", "torch_xla"),
    "xla_debug": _not_run("TPUs", "torch_xla"),
}

PROFILERS = {
    "simple": _indifferent("measures"),
    "SimpleProfiler": _indifferent("measures"),
    "advanced": _indifferent("measures"),
    "AdvancedProfiler": _indifferent("measures"),
    "pytorch": _indifferent("measures"),
    "PyTorchProfiler": _indifferent("measures"),
    "PassThroughProfiler": _indifferent("measures nothing"),
    "xla": _not_run("TPUs", "torch_xla"),
    "XLAProfiler": _not_run("TPUs", "torch_xla"),
}

PLUGINS = {
    "AsyncCheckpointIO": _refused(_OWN_FILES),
    "TorchCheckpointIO": _refused(_OWN_FILES),
    "XLACheckpointIO": _refused(_OWN_FILES),
    "BitsandbytesPrecision": _refused("--model.base_dtype nf4 keeps frozen weights in four bits."),
    "DeepSpeedPrecision": _refused(_BY_PRECISION),
    "DoublePrecision": _refused("Name the precision: --trainer.precision 64-true"),
    "FSDPPrecision": _refused(_BY_PRECISION),
    "HalfPrecision": _refused(_BY_PRECISION),
    "MixedPrecision": _honoured("from Python, with a gradient scaler of your own"),
    "Precision": _honoured("from Python; float32"),
    "TransformerEnginePrecision": _not_run("FP8 on an H100", "transformer_engine"),
    "XLAPrecision": _not_run("TPUs", "torch_xla"),
    "LayerSync": _indifferent("decoders have no batch norm"),
    "TorchSyncBatchNorm": _indifferent("decoders have no batch norm"),
}

REGISTER = {
    "argument": ARGUMENTS,
    "precision": PRECISIONS,
    "callback": CALLBACKS,
    "logger": LOGGERS,
    "strategy": STRATEGIES,
    "profiler": PROFILERS,
    "plugin": PLUGINS,
}
