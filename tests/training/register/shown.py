"""Which test shows what an honoured option does: file under tests/ and function."""

from __future__ import annotations

_EXACT = ("training/register/test_exact_options.py", "test_a_fit_is_a_plain_loop")
_EFFECTS = "training/register/test_effects.py"
_RANKS = ("scripts/test_torture.py", "test_all_guarantees_hold_under_injected_faults")
_PROGRESS = ("cli/test_progress.py", "test_a_users_progress_bar_replaces_ours")

SHOWN = {
    **dict.fromkeys(
        (
            "max_epochs",
            "max_steps",
            "fast_dev_run",
            "limit_train_batches",
            "overfit_batches",
            "accumulate_grad_batches",
            "gradient_clip_val",
            "gradient_clip_algorithm",
            "max_time",
            "GradientAccumulationScheduler",
            "EMAWeightAveraging",
            "WeightAveraging",
            "32-true",
            "64-true",
            "auto",
            "single_device",
            "SingleDeviceStrategy",
            "accelerator",
            "precision",
            "strategy",
            "callbacks",
            "LambdaCallback",
            "Precision",
        ),
        _EXACT,
    ),
    "bf16-mixed": (_EFFECTS, "test_a_fit_in_bfloat16_is_near_one_in_float32"),
    "bf16-true": (_EFFECTS, "test_a_fit_in_bfloat16_is_near_one_in_float32"),
    "16-mixed": ("cli/test_fit.py", "test_16_mixed_without_a_gpu_becomes_the_best_precision_of_the_processor"),
    "MixedPrecision": ("training/test_steps.py", "test_a_scaled_gradient_is_clipped_at_its_unscaled_norm"),
    "plugins": ("training/test_steps.py", "test_a_scaled_gradient_is_clipped_at_its_unscaled_norm"),
    "min_epochs": (_EFFECTS, "test_the_least_epochs_and_steps_delay_an_early_stop"),
    "min_steps": (_EFFECTS, "test_the_least_epochs_and_steps_delay_an_early_stop"),
    "EarlyStopping": (_EFFECTS, "test_the_least_epochs_and_steps_delay_an_early_stop"),
    "Timer": (_EFFECTS, "test_a_run_out_of_time_ends_with_a_whole_step_and_goes_on"),
    "limit_val_batches": (_EFFECTS, "test_limits_bound_an_evaluation"),
    "limit_test_batches": (_EFFECTS, "test_limits_bound_an_evaluation"),
    "limit_predict_batches": (_EFFECTS, "test_limits_bound_an_evaluation"),
    "val_check_interval": (_EFFECTS, "test_validations_come_at_the_end_of_the_step_in_which_they_are_due"),
    "check_val_every_n_epoch": (_EFFECTS, "test_validations_come_at_the_end_of_the_step_in_which_they_are_due"),
    "log_every_n_steps": (_EFFECTS, "test_steps_are_logged_as_often_as_asked_for"),
    "logger": (_EFFECTS, "test_steps_are_logged_as_often_as_asked_for"),
    "CSVLogger": (_EFFECTS, "test_steps_are_logged_as_often_as_asked_for"),
    "TensorBoardLogger": (_EFFECTS, "test_steps_are_logged_as_often_as_asked_for"),
    "ModelCheckpoint": (_EFFECTS, "test_a_fit_resumes_from_a_file_of_lightnings_checkpoint_callback"),
    "default_root_dir": ("cli/test_fit.py", "test_default_root_dir_and_name_set_the_folder_of_a_run"),
    "enable_progress_bar": ("cli/test_progress.py", "test_a_fit_without_a_progress_bar_prints_lines"),
    **dict.fromkeys(("ProgressBar", "RichProgressBar", "TQDMProgressBar"), _PROGRESS),
    **dict.fromkeys(
        (
            "devices",
            "ddp",
            "DDPStrategy",
        ),
        _RANKS,
    ),
}
