"""Base models from elsewhere than the Hub: the download, the weights and the tokenizer of a GGUF file, a manifest."""

import os

os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported; transformers would draw its own bars over ours
