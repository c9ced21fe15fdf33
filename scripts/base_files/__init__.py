"""Making folders of base models for fetch_base: the download, the weights, the tokenizer."""

import os

os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported; transformers would draw its own bars over ours
