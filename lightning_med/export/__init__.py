"""Exports a trained model: the Hugging Face folder and its model card."""
