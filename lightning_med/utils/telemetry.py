"""Switches the telemetry of libraries off, unless the user has chosen otherwise."""

from __future__ import annotations

import os

VARIABLES = {  # read when a library is imported or first used; docs/deployment.md says what each of them sends
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime: also on Linux, since a release between 1.20 and 1.32
    "GRADIO_ANALYTICS_ENABLED": "False",  # exactly this; otherwise it looks for new versions on the network
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, and by it transformers, datasets, gradio_client, trackio
    "HF_UPDATE_DOWNLOAD_COUNTS": "false",  # datasets
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
}


def switch_off_telemetry() -> None:
    """Sets the variables that the user has not set; child processes inherit them.

    `DO_NOT_TRACK` is left alone: it would outweigh what the user chooses for a single library.
    """
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
