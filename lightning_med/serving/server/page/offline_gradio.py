"""Gradio, told before it is imported that it must call nobody."""

from __future__ import annotations

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # exactly this; otherwise it looks for new versions on the network

import gradio as gr

__all__ = ["gr"]
