"""Prompts, tokenizers, and consultations as token ids."""
