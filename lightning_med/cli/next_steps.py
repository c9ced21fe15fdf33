"""The last lines of a command: which command comes next."""

from __future__ import annotations

import shlex
from pathlib import Path

from lightning_med.checkpoints.checkpoint_files import CHECKPOINTS, LAST, find_run_folder

_SMALL = ("--model.from_scratch", "{n_layer: 2, n_embd: 128, n_head: 4}")  # a network for a tokenizer of one's own


def print_after_fit(run: Path) -> None:
    """Prints how to export a run's best checkpoint and ask it a question; nothing for a trial run, which keeps none."""
    checkpoint = find_best(run)
    if checkpoint is not None:
        model = _quote(run / "export")
        print(f"run: {run}")
        export = f"lightning-med export --checkpoint {_quote(checkpoint)} --output {model}"
        print(f'next: {export} && lightning-med respond --model {model} "My tongue is sore, what can I do?"')


def find_best(run: Path) -> Path | None:
    """Returns a run's checkpoint with the best validation perplexity, else its last one; `None` for a trial run."""
    kept = [*sorted((run / CHECKPOINTS).glob("best*.ckpt")), run / CHECKPOINTS / LAST]
    return next((path for path in kept if path.is_file()), None)


def print_export(checkpoint: str) -> None:
    """Prints how to export a checkpoint into its run's folder."""
    output, here = find_run_folder(checkpoint) / "export", Path.cwd()
    output = output.relative_to(here) if output.is_relative_to(here) else output
    print(f"next: lightning-med export --checkpoint {_quote(checkpoint)} --output {_quote(output)}")


def print_after_prepare(arguments: list[str]) -> None:
    """Prints the fit on the same data, with the base whose tokenizer was taken where no model is named.

    Args:
        arguments: Those of `prepare`; `--output` is left out.
    """
    words = list(arguments)
    if "--output" in words:
        del words[(at := words.index("--output")) : at + 2]
    words = [word for word in words if not word.startswith("--output=")]
    named = {word.partition("=")[0] for word in words}
    tokenizer = _find_value(words, "--data.tokenizer")
    if tokenizer and named.isdisjoint(("--config", "-c", "--model", "--model.base", "--model.from_scratch")):
        words += ["--model.base", *(["null", *_SMALL] if tokenizer == "train" else [tokenizer])]
    print("next: lightning-med fit", *map(_quote, words))


def _find_value(words: list[str], option: str) -> str | None:
    """Returns the value of an option, the last one where it is given twice."""
    found = None
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        found = (value if equals else following) if name == option else found
    return found


def _quote(path: str | Path) -> str:
    return shlex.quote(str(path))
