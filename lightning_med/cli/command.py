"""The command `lightning-med`: its help, its exit status, and which file handles which verb. Imports nothing heavy."""

from __future__ import annotations

import difflib
import gc
import importlib
import json
import os
import sys
from importlib import metadata

from lightning_med.utils.errors import InputError, RunError
from lightning_med.utils.memory.garbage import pause_collection, skip_last_collection
from lightning_med.utils.output import discard, protect_output
from lightning_med.utils.ranks import check_ranks, forget_ranks
from lightning_med.utils.signals import Interrupted, raise_on_signals
from lightning_med.version import __version__

_TRAINER = "lightning_med.cli.trainer_command"
VERBS = {
    "init": ("lightning_med.cli.verbs.init", "three questions, and a config for a fit of your own"),
    "fetch": ("lightning_med.cli.verbs.fetch", "a folder of a base model, without the Hugging Face Hub"),
    "fit": (_TRAINER, "fine-tune on a table of consultations"),
    "validate": (_TRAINER, "perplexity of a checkpoint on the validation split"),
    "test": (_TRAINER, "perplexity on the test split, of the checkpoint and of the untuned base"),
    "predict": (_TRAINER, "answer every test question into RUN/predictions.jsonl"),
    "prepare": (_TRAINER, "the data alone: clean, split, tokenize into the cache, report"),
    "export": ("lightning_med.cli.verbs.export", "turn a checkpoint into a Hugging Face folder"),
    "respond": ("lightning_med.cli.verbs.respond", "answer a question, or each row of a file, with an exported model"),
    "chat": ("lightning_med.cli.verbs.chat", "talk to an exported model in the terminal"),
    "serve": ("lightning_med.cli.verbs.serve", "a page to talk to a model, and the OpenAI protocol, on one port"),
    "evaluate": ("lightning_med.cli.verbs.evaluate", "how good models are: figures with intervals, baselines, a page"),
    "runs": ("lightning_med.cli.verbs.runs", "a table of the runs: how far, how good, which compare, which is best"),
    "triage": ("lightning_med.cli.verbs.triage", "the safety verdict on a message, as JSON, and how often it is right"),
    "cache": ("lightning_med.cli.verbs.cache", "what is kept on this machine's disk, and clearing it"),
    "completion": ("lightning_med.cli.verbs.completion", "a script that completes verbs and options in a shell"),
}
_HELP = """usage: lightning-med VERB [options]

Fine-tune a small language model on doctor-patient consultations.
For research and education: not a medical device, and never a substitute for care.

Start here:
  lightning-med init                      asks for data, base and machine, and writes a config
  lightning-med fit --config FILE.yaml    trains, and names the export that comes next
  lightning-med chat, or serve            talks to the newest export, in the terminal or the browser

{verbs}

  --version   versions of this package, torch, lightning and transformers; as JSON with --json
  --help      this text; `lightning-med VERB --help` for the options of one verb"""


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Its arguments; default those of this process, which is then taken to exist for this command alone: what is
            alive once the verb is imported is never garbage-collected.

    Returns:
        The exit status: 0 done, 2 wrong input, 128 + n after signal n, 141 after a closed pipe, 1 anything else.
    """
    with protect_output():
        return _report(sys.argv[1:] if argv is None else argv, owns_process=argv is None)


def _report(argv: list[str], *, owns_process: bool) -> int:
    """Runs the command, and prints an error that it owes to the user; returns the exit status."""
    try:
        with raise_on_signals():
            status = _run(argv, owns_process)
        sys.stdout.flush()  # here, where a closed pipe is handled, and not at the interpreter's exit
        return status
    except InputError as error:
        print(f"lightning-med: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"lightning-med: {error}", file=sys.stderr)
        return 1
    except Interrupted as signal:
        print(f"lightning-med: stopped by {signal}.", file=sys.stderr)
        return signal.code
    except BrokenPipeError:
        discard(sys.stdout)  # the reader has gone, like `head`
        return 141


def _run(argv: list[str], owns_process: bool) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        width = max(map(len, VERBS))
        print(_HELP.format(verbs="\n".join(f"  {verb:<{width}}  {text}" for verb, (_, text) in VERBS.items())))
        return 0
    if argv[0] == "--version":
        names = ("torch", "lightning", "transformers")
        versions = {"lightning-med": __version__, **{name: metadata.version(name) for name in names}}
        as_lines = "\n".join(f"{name} {version}" for name, version in versions.items())
        print(json.dumps(versions) if "--json" in argv else as_lines)
        return 0
    if argv[0] not in VERBS:
        near = difflib.get_close_matches(argv[0], VERBS, n=1)
        raise InputError(
            f"there is no verb {argv[0]!r}.", f"Did you mean {near[0]}?" if near else f"There are: {', '.join(VERBS)}."
        )
    if VERBS[argv[0]][0] == _TRAINER:
        check_ranks()
    else:
        forget_ranks()  # of a launcher: such a verb is one process
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # its retries; we report the outcome ourselves
    skip_last_collection()
    with pause_collection():
        verb = importlib.import_module(VERBS[argv[0]][0])
        if owns_process:
            gc.freeze()  # a walk over what is imported takes 0.7 s
    return int(verb.main(argv))
