"""Lets many people ask a served model for minutes, and checks that each answer is that of its question asked alone.

    python scripts/check_serving.py --model lightning_logs/quickstart/version_0/export --people 32 --minutes 5

It starts `lightning-med serve`, asks every question alone, then lets the people ask at random, half of them as streams.
Reported are errors, answers that differ, how many there were, seconds to the first text, and the server's memory over
time. The exit status is 1 if an answer failed or differs, or if there is none. Needs the extra `app` and `openai`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from answering.jobs import Job, QuestionSet
from answering.questions import make_questions
from answering.servers import serve_ours

from lightning_med.utils.errors import RunError, UserError, check_range, describe_error

_SECONDS = 10  # between two looks at the memory
_PAUSE = 0.5  # seconds of a person after an error
_QUESTIONS = 32
_SHOWN = 3  # errors and differences


@dataclass
class Crowd:
    """What the people saw."""

    answers: int = 0
    different: list[tuple[str, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)  # seconds to the first text of a stream
    memory: list[int] = field(default_factory=list)  # MiB


async def ask(client: Any, model: str, question: str, is_stream: bool, crowd: Crowd | None = None) -> str:
    """Returns an answer."""
    start, messages = time.monotonic(), [{"role": "user", "content": question}]
    if not is_stream:
        answer = await client.chat.completions.create(model=model, messages=messages)
        return str(answer.choices[0].message.content)
    text = ""
    async for piece in await client.chat.completions.create(model=model, messages=messages, stream=True):
        new = piece.choices[0].delta.content or ""
        if new and not text and crowd is not None:
            crowd.waits.append(time.monotonic() - start)
        text += new
    return text


async def run(url: str, pid: int, people: int, minutes: float) -> Crowd:
    """Asks each question alone, then lets the people ask.

    Raises:
        RunError: A question that was asked alone has no answer.
    """
    from openai import AsyncOpenAI, OpenAIError

    questions, crowd = make_questions(0, _QUESTIONS), Crowd()
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600) as client:
        try:
            model = (await client.models.list()).data[0].id
            alone = await _ask_alone(client, model, questions)
        except OpenAIError as error:
            what = f"asked alone, before anybody else, the server fails: {describe_error(error)}"
            raise RunError(what) from error
        end = time.monotonic() + 60 * minutes

        async def be_person(seed: int) -> None:
            chance = random.Random(seed)
            while time.monotonic() < end:
                question = chance.choice(questions)
                try:
                    text = await ask(client, model, question, chance.random() < 0.5, crowd)
                except Exception as error:  # of any kind: it is reported
                    crowd.errors.append(f"{type(error).__name__}: {error}")
                    await asyncio.sleep(_PAUSE)
                    continue
                crowd.answers += 1
                if text != alone[question]:
                    crowd.different.append((alone[question], text))

        async def watch() -> None:
            while time.monotonic() < end:
                if (memory := read_memory(pid)) is not None:
                    crowd.memory.append(memory)
                left = max(end - time.monotonic(), 0)
                print(f"{crowd.answers} answers, {memory} MiB, {left:.0f} s left", file=sys.stderr, end="\r")
                await asyncio.sleep(min(_SECONDS, left))

        await asyncio.gather(watch(), *map(be_person, range(people)))
    return crowd


async def _ask_alone(client: Any, model: str, questions: list[str]) -> dict[str, str]:
    """Returns the answer to each question when nobody else asks."""
    alone = {}
    for number, question in enumerate(questions):
        alone[question] = await ask(client, model, question, is_stream=number % 2 == 0)
        print(f"alone: {number + 1} of {len(questions)}", file=sys.stderr, end="\r")
    return alone


def read_memory(pid: int) -> int | None:
    """Returns the resident memory of a process in MiB; `None` where it has ended, or the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS:")), None)


def make_report(crowd: Crowd, people: int, minutes: float) -> str:
    """Returns what the people saw; what went wrong comes first."""
    lines = [f"error: {error}" for error in crowd.errors[:_SHOWN]]
    for wanted, text in crowd.different[:_SHOWN]:
        lines += [f"- {wanted!r}", f"+ {text!r}"]
    lines += [
        f"errors: {len(crowd.errors)}; answers that differ from those to the question alone: {len(crowd.different)}",
        f"{crowd.answers:,} answers in {minutes:g} minutes to {people} people",
    ]
    if waits := sorted(crowd.waits):
        late = waits[int(0.95 * len(waits))]
        lines.append(f"seconds to the first text: median {statistics.median(waits):.1f}, 95 % within {late:.1f}")
    if memory := crowd.memory:
        quarter = memory[len(memory) // 4]
        lines.append(f"memory in MiB: after a quarter {quarter:,}, at the end {memory[-1]:,}; {memory}")
    return "\n".join(lines)


def check(given: argparse.Namespace) -> Crowd:
    """Starts the server, lets the people ask, and ends it.

    Raises:
        UserError: An option is out of its range, the server does not start, or it fails when it is asked alone.
    """
    check_range("--people", given.people, 1)
    check_range("--minutes", given.minutes, 0.01, 24 * 60)
    none = QuestionSet([], [])
    job = Job(given.model, None, 0, 2, ["--rate", "100000", "--region", "GB"], none, [])
    server = serve_ours(job, given.engine)
    try:
        return asyncio.run(run(server.url, server.pid, given.people, given.minutes))
    finally:
        server.close()


def main(argv: list[str]) -> int:
    """Runs the check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of an export")
    parser.add_argument("--engine", default="auto", help="as of `serve`")
    parser.add_argument("--people", type=int, default=32)
    parser.add_argument("--minutes", type=float, default=5)
    given = parser.parse_args(argv)
    try:
        crowd = check(given)
    except UserError as error:  # `Skipped`, too
        print(f"check_serving: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(make_report(crowd, given.people, given.minutes))
    return 1 if crowd.errors or crowd.different or not crowd.answers else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
