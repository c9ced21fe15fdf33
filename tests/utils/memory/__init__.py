"""Tests of lightning_med.utils.memory."""
