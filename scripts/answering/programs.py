"""The programs that are compared, and the process that runs one of them."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from answering.jobs import Job, Program, Skipped, measure, to_json
from answering.memory import read_peak_memory


@dataclass(frozen=True)
class Kind:
    """A program.

    Attributes:
        name: In the tables.
        weights: Their type, of `WEIGHT_BYTES`.
        factory: Module of this folder, and what makes the program in it.
        options: After the job.
    """

    name: str
    weights: str
    factory: tuple[str, str]
    options: tuple[Any, ...] = ()

    @property
    def is_server(self) -> bool:
        """Whether another process answers."""
        return self.factory[0] == "servers"

    @property
    def is_guarded(self) -> bool:
        """Whether text is held back until it is checked, so that its times are not those of tokens."""
        return self.factory == _OURS

    def open(self, job: Job) -> Program:
        """Starts it; modules are imported here, so that none holds memory of another's."""
        module, function = self.factory
        program: Program = getattr(importlib.import_module(f"answering.{module}"), function)(job, *self.options)
        return program


_ENGINE, _GENERATE = ("engines", "OurEngine"), ("plain_transformers", "PlainTransformers")
_THEIRS, _OURS = ("servers", "serve_transformers"), ("servers", "serve_ours")
PROGRAMS = {
    "ours-llama": Kind("ours, llama.cpp q8_0", "q8_0", _ENGINE, ("q8_0",)),
    "ours-bfloat16": Kind("ours, torch bfloat16", "bfloat16", _ENGINE, ("bfloat16",)),
    "ours-float32": Kind("ours, torch float32", "float32", _ENGINE, ("float32",)),
    "llama": Kind("llama.cpp q8_0 alone", "q8_0", ("plain_llama", "PlainLlama")),
    "generate-bfloat16": Kind("transformers `generate`, bfloat16", "bfloat16", _GENERATE, ("bfloat16",)),
    "generate-float32": Kind("transformers `generate`, float32", "float32", _GENERATE, ("float32",)),
    "serve-llama": Kind("`lightning-med serve`, llama.cpp q8_0", "q8_0", _OURS, ("llama.cpp",)),
    "serve-torch": Kind("`lightning-med serve`, torch bfloat16", "bfloat16", _OURS, ("transformers",)),
    "serve-transformers": Kind("`transformers serve`, bfloat16", "bfloat16", _THEIRS, (False,)),
    "serve-batching": Kind("`transformers serve --continuous-batching`, bfloat16", "bfloat16", _THEIRS, (True,)),
}


def run_program(key: str, job: Job, result: Path) -> None:
    """Measures one program in this process and writes its figures, or why there are none."""
    try:
        program = PROGRAMS[key].open(job)
        try:
            measurements = measure(program, job)
            figures: dict[str, Any] = {"peak": read_peak_memory(program.pid), "measurements": to_json(measurements)}
        finally:
            program.close()
    except Skipped as skipped:
        figures = {"skipped": str(skipped)}
    result.write_text(json.dumps(figures), encoding="utf-8")
