"""A process that downloads in forks, each with settings and a home folder of its own."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.servers import compute_sha256


class Worker:
    """A process that has imported the slow libraries and handles each request in a fork of its own.

    Settings and home folders are environment variables, so that each request needs its own process; a fork need not
    import the libraries again.
    """

    IMPORTS = ("requests", "httpx", "httpx2", "kagglesdk.kaggle_client", "torch", "lightning_med.data.sources")

    def __init__(self) -> None:
        script = "from tests.download_worker import Worker; Worker.run()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            env={"PATH": os.environ["PATH"], "TOKENIZERS_PARALLELISM": "false"},
        )

    def ask(self, home: Path, what: str, name: str, output: str = "", **settings: str) -> dict[str, Any]:
        """Returns the result of one request; see `_load`.

        Args:
            home: Home folder of the fork.
            what: What to load.
            name: Where from.
            output: File or terminal that the fork prints to; a file in its home folder if empty.
            settings: Environment variables.
        """
        home.mkdir(exist_ok=True)
        reply = home / "reply.json"
        reply.unlink(missing_ok=True)
        environment = {
            "HOME": str(home),
            "HF_HOME": str(home / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_VERBOSITY": "error",
            "KAGGLEHUB_CACHE": str(home / "kaggle"),
            "NO_PROXY": "*",
            "TRANSFORMERS_VERBOSITY": "error",
            **settings,
        }
        request = [what, name, environment, str(reply), output or str(home / "output.txt")]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()
        assert reply.exists(), "the process died in this request"
        result = json.loads(reply.read_text(encoding="utf-8"))
        assert "crash" not in result, result["crash"]
        return result

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    @staticmethod
    def run() -> None:
        """The loop of the process: reads a request per line, and prints a line when its fork has ended."""
        for name in Worker.IMPORTS:
            with suppress(ImportError):
                importlib.import_module(name)
        for line in sys.stdin:
            what, name, environment, reply, output = json.loads(line)
            child = os.fork()
            if child == 0:
                _handle_request(what, name, environment, Path(reply), output)
            os.waitpid(child, 0)
            print("done", flush=True)


def _handle_request(what: str, name: str, environment: dict[str, str], reply: Path, output: str) -> None:
    """Handles one request in a fork and ends it without the cleanup that belongs to the parent."""
    signal.alarm(60)  # a client that waits forever fails its own test only
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.environ.update(environment)
        slept: list[float] = []
        time.sleep = slept.append  # type: ignore[assignment]
        result = {**_load(what, name), "slept": sum(slept)}
    except BaseException:
        result = {"crash": traceback.format_exc()}
    reply.write_text(json.dumps(result), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)


def _load(what: str, name: str) -> dict[str, Any]:
    """Loads a source, the files of a model, a tokenizer or a base, or runs a command; returns a result or an error."""
    from lightning_med.utils.errors import InputError

    if address := os.environ.get("KAGGLE"):
        from kagglesdk import kaggle_env

        kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.PROD] = address
    try:
        if what == "source":
            from lightning_med.data.sources.source_files import find_files

            return {"files": {path.name: compute_sha256(path.read_bytes()) for path in find_files(name)}}
        if what == "files":
            from lightning_med.utils import hub

            return {"folder": str(hub.download(name, "--model.base FOLDER", ["*.json"]))}
        if what == "command":
            from lightning_med.cli.command import main

            return {"status": main(name.split())}
        if what == "tokenizer":
            from lightning_med.tokenization.tokenizer import load_tokenizer, store_tokenizer

            return {"tokenizer": store_tokenizer(load_tokenizer(name))}
        if what == "base":
            from lightning_med.model.causal_lm import load_base

            return {"weights": sum(p.double().sum().item() for p in load_base(name, 0.0).parameters())}
        if what == "model":  # both in one fork: transformers is slow to import
            return {"tokenizer": _load("tokenizer", name), "base": _load("base", name)}
        raise ValueError(what)
    except InputError as error:
        return {"what": error.what, "hint": error.hint}
