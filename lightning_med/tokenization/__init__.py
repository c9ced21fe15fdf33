"""Prompts, tokenizers, and the encoding of consultations as token ids."""
