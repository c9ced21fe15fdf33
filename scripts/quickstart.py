"""Fits, tests and exports a network on the embedded synthetic consultations, and answers a question. Works offline.

python scripts/quickstart.py
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from lightning_med.checkpoints.run_folder import list_versions
from lightning_med.cli.command import main
from lightning_med.serving.responder import Responder

QUESTION = (
    "Im constantly plagued with mouth ulcers and tongue ulcers and feel as if my tongue is swollen, when I lay down my"
    " mouth constantly fills with saliva and I constantly have to swallow its most annoying and I have to try to sleep"
    " with my neck up in the air. My ears are painful too, this is ongoing condition"
)


def run_quickstart() -> int:
    """Runs the commands one after another, prints the perplexities and an answer, and returns the exit status."""
    if status := main(["fit", "--config", "configs/quickstart.yaml"]):
        return status
    run = list_versions(Path("lightning_logs/quickstart"))[-1]
    best = next((run / "checkpoints").glob("best*.ckpt"))
    for argv in (
        ["test", "--ckpt_path", str(best)],
        ["export", "--checkpoint", str(best), "--output", str(run / "export")],
    ):
        if status := main(argv):
            return status
    results = json.loads((run / "test.json").read_text(encoding="utf-8"))
    answer = Responder.from_pretrained(run / "export").respond(QUESTION)
    print(
        f"\nquestion: {QUESTION}\n\nembedded test split (synthetic consultations), a small model trained from scratch:"
    )
    print(f"perplexity before: {results['test/base_perplexity']:.2f}")
    print(f"perplexity after: {results['test/perplexity']:.2f}")
    print(f"answer: {answer.answer}")
    command = Path(sys.executable).with_name("lightning-med")
    print(f'\nnext: {os.path.relpath(command)} respond --model {run / "export"} "Your question"')
    return 0


if __name__ == "__main__":
    sys.exit(run_quickstart())
