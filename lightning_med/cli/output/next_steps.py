"""The last lines of a command: which command comes next."""

from __future__ import annotations

import shlex
from pathlib import Path

from lightning_med.checkpoints.checkpoint_files import find_best_checkpoint, find_run_folder

_SMALL = ("--model.from_scratch", "{n_layer: 2, n_embd: 128, n_head: 4}")  # a network for a tokenizer of one's own


def print_after_fit(run: Path) -> None:
    """Prints how to export a run's best checkpoint and ask it a question; nothing for a trial run, which keeps none."""
    if checkpoint := find_best_checkpoint(run):
        print(f"run: {run}")
        print(f"next: {format_export(checkpoint, run / 'export')} && {format_question(run / 'export')}")


def format_export(checkpoint: Path, output: Path) -> str:
    """Returns the command that exports a checkpoint."""
    return f"lightning-med export --checkpoint {_quote(checkpoint)} --output {_quote(output)}"


def format_question(model: Path) -> str:
    """Returns the command that asks an export a question."""
    return f'lightning-med respond --model {_quote(model)} "My tongue is sore, what can I do?"'


def format_resumption(settings: Path) -> str:
    """Returns the command that continues a run, given its settings."""
    return f"lightning-med fit --config {_quote(settings)} --resume auto"


def print_export(checkpoint: str) -> None:
    """Prints how to export a checkpoint into its run's folder."""
    output, here = find_run_folder(checkpoint) / "export", Path.cwd()
    output = output.relative_to(here) if output.is_relative_to(here) else output
    print(f"next: {format_export(Path(checkpoint), output)}")


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
