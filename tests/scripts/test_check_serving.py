"""check_serving lets people ask a served model at once, and tells errors and answers that differ."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lightning_med.utils.errors import InputError, RunError, UserError
from tests import tiny


@pytest.fixture
def serving(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("check_serving")


@pytest.fixture
def served(serving: ModuleType, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A server that is none, with a crowd that saw what `crowd` holds, or an error instead."""
    told = SimpleNamespace(url="http://127.0.0.1:1", pid=os.getpid(), closed=0, crowd=serving.Crowd(), error=None)

    def close() -> None:
        told.closed += 1

    async def run(*_: object) -> Any:
        if told.error is not None:
            raise told.error
        return told.crowd

    told.close = close
    monkeypatch.setattr(serving, "serve_ours", lambda job, engine: told)
    monkeypatch.setattr(serving, "run", run)
    return told


@pytest.mark.slow  # a server is a process that imports torch and Gradio
def test_people_get_the_answers_that_one_alone_gets(
    serving: ModuleType, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    export = tiny.finished_export(tmp_path_factory.getbasetemp() / "tiny")
    argv = ["--model", str(export), "--engine", "transformers", "--people", "4", "--minutes", "0.05"]
    status = serving.main(argv)
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert status == 0, shown
    assert lines[0] == "errors: 0; answers that differ from those to the question alone: 0"
    assert lines[1].endswith(" answers in 0.05 minutes to 4 people")
    assert int(lines[1].split()[0].replace(",", "")) >= 4
    assert lines[2].startswith("seconds to the first text: median ")
    assert lines[3].startswith("memory in MiB: after a quarter ") or not Path("/proc").is_dir()


def test_what_went_wrong_comes_first_and_is_counted(
    serving: ModuleType, served: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    served.crowd = serving.Crowd(
        answers=1200,
        different=[(f"Tea {number}.", f"Rest {number}.") for number in range(5)],
        errors=[f"APIError: fault {number}" for number in range(4)],
        waits=[float(number) for number in range(100, 0, -1)],
        memory=[500, 600, 700, 1800],
    )
    assert serving.main(["--model", "x", "--people", "7", "--minutes", "2"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        *(f"error: APIError: fault {number}" for number in range(3)),
        *(line for number in range(3) for line in (f"- 'Tea {number}.'", f"+ 'Rest {number}.'")),
        "errors: 4; answers that differ from those to the question alone: 5",
        "1,200 answers in 2 minutes to 7 people",
        "seconds to the first text: median 50.5, 95 % within 96.0",
        "memory in MiB: after a quarter 600, at the end 1,800; [500, 600, 700, 1800]",
    ]
    assert served.closed == 1


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        ({"answers": 5}, 0),
        ({}, 1),  # nobody got an answer
        ({"answers": 5, "errors": ["APIError: fault"]}, 1),
        ({"answers": 5, "different": [("Tea.", "Rest.")]}, 1),
        ({"answers": 1, "waits": [2.0], "memory": [500]}, 0),
    ],
)
def test_the_status_is_that_of_the_answers(
    serving: ModuleType, served: SimpleNamespace, seen: dict[str, Any], status: int
) -> None:
    served.crowd = serving.Crowd(**seen)
    assert serving.main(["--model", "x"]) == status
    report = serving.make_report(served.crowd, 3, 1)
    assert f"{seen.get('answers', 0)} answers in 1 minutes to 3 people" in report
    assert ("seconds to the first text" in report) is ("waits" in seen)
    assert ("memory in MiB" in report) is ("memory" in seen)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--people", "0"], "check_serving: --people is 0. It must be at least 1."),
        (["--people", "-3"], "check_serving: --people is -3. It must be at least 1."),
        (["--minutes", "0"], "check_serving: --minutes is 0.0. It must be between 0.01 and 1440."),
        (["--minutes", "nan"], "check_serving: --minutes is nan. It must be between 0.01 and 1440."),
    ],
)
def test_wrong_options_are_one_line_and_start_no_server(
    serving: ModuleType, served: SimpleNamespace, argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serving.main(["--model", "x", *argv]) == 1
    assert capsys.readouterr() == ("", f"{line}\n")
    assert served.closed == 0


@pytest.mark.parametrize("error", [RunError("the server fails."), InputError("the server", "fails.")])
def test_a_failure_is_one_line_and_the_server_is_ended(
    serving: ModuleType, served: SimpleNamespace, error: UserError, capsys: pytest.CaptureFixture[str]
) -> None:
    served.error = error
    assert serving.main(["--model", "x"]) == 1
    assert capsys.readouterr() == ("", "check_serving: the server fails.\n")
    assert served.closed == 1


def test_a_server_that_does_not_start_is_one_line(
    serving: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def skip(*_: object) -> None:
        from answering.jobs import Skipped

        raise Skipped("it does not start: no model")

    monkeypatch.setattr(serving, "serve_ours", skip)
    assert serving.main(["--model", "x"]) == 1
    assert capsys.readouterr() == ("", "check_serving: it does not start: no model\n")


def test_the_memory_of_a_process_that_has_ended_is_unknown(serving: ModuleType) -> None:
    assert serving.read_memory(2**30) is None
    assert not Path("/proc").is_dir() or serving.read_memory(os.getpid()) > 10
