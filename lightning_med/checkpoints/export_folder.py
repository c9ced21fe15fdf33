"""The one file of ours in an exported folder: what an answer needs beside model and tokenizer."""

SETTINGS = "lightning_med.json"
