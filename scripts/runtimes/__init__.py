"""Comparison of an export with other programs that run it: transformers 4, and llama.cpp."""

import os

os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported
