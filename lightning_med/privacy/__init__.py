"""Finds private data in text and replaces it by placeholders."""
