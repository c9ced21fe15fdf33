"""Writes a tuned classifier as an ONNX file with int8 weights, which the package runs without torch."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lightning_med.safety.messages.encoder.classifier import METADATA
from triage.encoder_network import EncoderNetwork


class _Graph(nn.Module):
    """One message at a time, without padding or mask; the scores of each token, so that words can be weighed."""

    def __init__(self, network: EncoderNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor) -> Tensor:
        encoder = self.network.encoder
        states = encoder.embeddings(ids)
        for layer in encoder.encoder.layer:
            states = layer(states)
            states = states[0] if isinstance(states, tuple) else states
        scores: Tensor = self.network.head(states)  # the mean over them is the score of the message
        return scores


def export_classifier(network: EncoderNetwork, path: Path) -> None:
    """Writes the file, whose metadata `describe_classifier` sets.

    Weights of matrix products and embeddings become int8, those of products with a scale for each output channel
    (ONNX Runtime's dynamic quantization). Processors without VNNI instructions add them up less exactly.

    Args:
        network: Tuned.
        path: Replaced.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    network.eval()
    network.encoder.set_attn_implementation("eager")
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "small.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter announces its successor, which needs another package
            torch.onnx.export(
                _Graph(network),
                (torch.ones(1, 8, dtype=torch.int64),),
                str(plain),
                input_names=["ids"],
                output_names=["scores"],
                dynamic_axes={"ids": {1: "tokens"}},
                opset_version=17,
                dynamo=False,
            )
        quantize_dynamic(
            plain, small, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul", "Gather"]
        )
        path.write_bytes(small.read_bytes())


def compute_exported_scores(network: EncoderNetwork, ids: Sequence[list[int]]) -> np.ndarray:
    """Returns the scores `[messages, classes]`, float32, with int8 weights, which change them a little."""
    from onnxruntime import InferenceSession

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "classifier.onnx"
        export_classifier(network, path)
        session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return np.stack([session.run(None, {"ids": np.array([each])})[0][0].mean(0) for each in ids])


def describe_classifier(path: Path, metadata: dict[str, Any]) -> None:
    """Stores metadata as JSON under `triage` in the file's own metadata."""
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA: json.dumps(metadata)})
    path.write_bytes(model.SerializeToString())
