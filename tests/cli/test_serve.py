"""`lightning-med serve`: what is refused before a model is loaded, what reaches the server, and which engine writes."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio")

import torch
from fastapi import FastAPI
from starlette.testclient import TestClient

from lightning_med.cli.answering import engine_choice
from lightning_med.cli.answering.server_options import LOCAL_HOSTS
from lightning_med.inference.model_folder import ModelFolder, open_export
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.server.app import ServerSettings
from lightning_med.serving.server.app import make_app as make_real_app
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.cli.helpers import run_refused
from tests.serving.upstream_server import serve_upstream

find_real_spec = importlib.util.find_spec
UPSTREAM = "http://127.0.0.1:1"


def fail(*_: object) -> None:
    raise AssertionError("it went on")


@pytest.fixture(autouse=True)
def no_settings(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names no model and no passwords, and nothing is served, which would not end."""
    for name in ("AUTH", "AUTH_FILE", "API_KEY", "UPSTREAM_KEY", "MODEL", "REGION"):
        monkeypatch.delenv(f"LIGHTNING_MED_{name}", raising=False)
    monkeypatch.setattr("lightning_med.serving.server.listening.run", fail)


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny export, where exports of runs lie."""
    place = tmp_path_factory.mktemp("logs") / "quickstart" / "version_0" / "export"
    return shutil.copytree(tiny.finished_export(folder), place)


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Lets packages be missing."""
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name in packages else find_real_spec(name)
    )


# ------------------------------------------------------------------ what is refused


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be loaded or connected."""
    for name in ("open_service", "_open_upstream"):
        monkeypatch.setattr(f"lightning_med.cli.verbs.serve.{name}", fail)


def check_refused(what: str, how: str, *options: object, cwd: Path) -> None:
    """Checks that a command fails with a line that says what is wrong, and one that says how to mend it."""
    lines = run_refused("serve", *options, cwd=cwd).splitlines()
    assert len(lines) == 2
    assert what in lines[0]
    assert how in lines[1]
    assert lines[1].startswith("  ")


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("options", "what", "how"),
    [
        ("--host 0.0.0.0", "--host 0.0.0.0 lets other machines in, and needs --auth", "Set $LIGHTNING_MED_AUTH"),
        ("--host ::", "--host :: lets other machines in", "TLS"),
        ("--host 0.0.0.0 --api_key k", "needs --auth NAME:PASSWORD.", "Set $LIGHTNING_MED_AUTH"),
        ("--public_name doctor.example", "--public_name lets other machines in", "Set $LIGHTNING_MED_AUTH"),
        ("--proxy somewhere", "--proxy: 'somewhere' does not appear to be an IPv4 or IPv6 network.", "For instance: --proxy 127.0.0.1"),
        ("--proxy 0.0.0.0/0", "--proxy 0.0.0.0/0 would believe every client.", "Name the addresses of your proxies"),
        ("--proxy ::/0", "--proxy ::/0 would believe every client.", "Name the addresses of your proxies"),
        ("--proxy ::ffff:10.0.0.1", "--proxy ::ffff:10.0.0.1 is an address of IPv4", "For instance: --proxy 10.0.0.1"),
        ("--auth a:b --auth_file none", "--auth and --auth_file exclude each other.", "Leave one of them out."),
        ("--auth_file none", "--auth_file none cannot be read: No such file", "Its one line is NAME:PASSWORD."),
        ("--auth_file .", "--auth_file . cannot be read: Is a directory", "Its one line is NAME:PASSWORD."),
        ("--auth ward", "--auth takes NAME:PASSWORD.", "For instance: --auth clinic:"),
        ("--auth ward:", "--auth takes NAME:PASSWORD.", "For instance"),
        ("--auth :secret", "--auth takes NAME:PASSWORD.", "For instance"),
        ("--port 99999", "--port is 99999.", "It must be between 0 and 65535."),
        ("--port -1", "--port is -1.", "It must be between 0 and 65535."),
        ("--rate 0", "--rate is 0.", "It must be between 1 and"),
        ("--slots 0", "--slots is 0.", "It must be between 1 and 256."),
        ("--slots 257", "--slots is 257.", "It must be between 1 and 256."),
        ("--queue -1", "--queue is -1.", "It must be between 0 and 100000."),
        ("--temperature -1", "--temperature is -1.0.", "It must be between 0 and 100."),
        ("--region XX", "--region XX is not known.", "Known: "),
        ("--upstream_model doctor", "--upstream_model needs --upstream URL.", "Or leave it out."),
        (f"--upstream {UPSTREAM} --engine transformers", "--engine and --upstream exclude each other", "its own engine"),
        (f"--upstream {UPSTREAM} --dtype float32", "--dtype and --upstream exclude each other", "its own engine"),
        ("--audit none/audit.jsonl --port 0", "none/audit.jsonl cannot hold the audit log: No such", "Name a new file"),
        ("--audit log --marks ./log", "--audit and --marks both name log.", "Name two files."),
        ("--marks none/marks.sqlite --port 0", "none/marks.sqlite cannot hold marks: No such file", "Name a new file"),
        ("--host 192.0.2.1 --auth a:b --port 0", "--host 192.0.2.1 --port 0: ", "Name another one"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_before_anything_is_loaded(options: str, what: str, how: str, tmp_path: Path) -> None:
    check_refused(what, how, *options.split(), cwd=tmp_path)


@pytest.mark.usefixtures("unloaded")
def test_a_login_of_the_environment_is_checked_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIGHTNING_MED_AUTH", "ward")
    check_refused("--auth takes NAME:PASSWORD.", "For instance", cwd=tmp_path)


@pytest.mark.usefixtures("unloaded")
def test_a_port_in_use_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        check_refused(
            f"--host 127.0.0.1 --port {port}: Address already in use.", "--port N", "--port", port, cwd=tmp_path
        )


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("missing", [("gradio",), ("uvicorn", "httpx2")])
def test_missing_packages_are_named(missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hide(monkeypatch, *missing)
    check_refused(f"serve needs {', '.join(missing)}.", 'pip install "lightning-med[app]"', cwd=tmp_path)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    options = ("--port", 0, "--model", "no/such/folder")
    check_refused("no/such/folder is not an exported model", "Make one: lightning-med export", *options, cwd=tmp_path)
    check_refused("No model is named", "lightning-med export", "--port", 0, cwd=tmp_path)


def test_an_upstream_server_that_is_down_is_refused(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    options = ("--port", 0, "--upstream", url)
    check_refused(f"The upstream server {url}/v1 cannot be reached", "Start it first", *options, cwd=tmp_path)


# ------------------------------------------------------------------ what reaches the server


@dataclass
class Started:
    """What a command would serve.

    Attributes:
        out: What it said.
        statuses: Of answers to requests for the page and for the models.
    """

    out: str
    port: int
    service: ChatService
    settings: ServerSettings
    statuses: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)  # of models


Start = Callable[..., Started]


@pytest.fixture
def start(model: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Runs the command up to where it would serve, and asks the app instead.

    It takes the options, and the headers of requests by what the statuses are called.
    """
    made: dict[str, Any] = {}

    def make_app(service: ChatService, settings: ServerSettings) -> FastAPI:
        made.update(service=service, settings=settings)
        return make_real_app(service, settings)

    def begin(*options: object, **headers: dict[str, str]) -> Started:
        statuses: dict[str, int] = {}
        names: list[str] = []

        def run(app: FastAPI, listening: socket.socket) -> None:
            made["port"] = listening.getsockname()[1]
            with TestClient(app, base_url="http://127.0.0.1:8000") as client:
                for name, sent in {"open": {}, **headers}.items():
                    for path in ("/", "/v1/models", "/health"):
                        answer = client.get(path, headers=sent)
                        statuses[f"{name} {path}"] = answer.status_code
                        if path == "/v1/models" and answer.status_code == 200:
                            names.append(answer.json()["data"][0]["id"])

        monkeypatch.setattr("lightning_med.serving.server.listening.run", run)
        own = () if "--upstream" in options else ("--model", model, "--engine", "transformers")
        status, out, err = tiny.command("serve", "--port", 0, "--region", "GB", *own, *options)
        assert status == 0, err
        return Started(out, statuses=statuses, names=names, **made)

    monkeypatch.setattr("lightning_med.serving.server.app.make_app", make_app)
    return begin


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_without_options_all_is_open_to_this_machine(start: Start) -> None:
    started = start()
    settings = started.settings
    assert started.statuses == {"open /": 200, "open /v1/models": 200, "open /health": 200}
    assert (settings.model, settings.facts[0], started.names) == ("quickstart", ("Model", "quickstart"), ["quickstart"])
    assert (settings.login, settings.api_key, settings.public_name, settings.marks) == (None, None, None, None)
    assert (settings.hosts, settings.limit, settings.rate) == (LOCAL_HOSTS, 32 + 256, 300)
    assert (started.service.region, started.service.safety) == ("GB", True)
    assert started.out.startswith(DISCLAIMER)
    assert f"http://127.0.0.1:{started.port}\n" in started.out
    assert f"http://127.0.0.1:{started.port}/v1 (OpenAI protocol)\n" in started.out


def test_the_password_of_the_page_is_the_key_of_programs(start: Start) -> None:
    login = {"authorization": "Basic d2FyZDpwYXNzOndvcmQ="}  # ward:pass:word
    started = start("--auth", "ward:pass:word", login=login, key=bearer("pass:word"), wrong=bearer("ward"))
    assert (started.settings.login, started.settings.api_key) == (("ward", "pass:word"), "pass:word")
    assert started.statuses == {
        "open /": 401, "open /v1/models": 401, "open /health": 200,
        "login /": 200, "login /v1/models": 401, "login /health": 200,
        "key /": 401, "key /v1/models": 200, "key /health": 200,
        "wrong /": 401, "wrong /v1/models": 401, "wrong /health": 200,
    }  # fmt: skip


def test_a_key_alone_leaves_the_page_open(start: Start) -> None:
    started = start("--api_key", "a-key", key=bearer("a-key"))
    assert (started.settings.login, started.settings.api_key) == (None, "a-key")
    assert started.statuses == {
        "open /": 200, "open /v1/models": 401, "open /health": 200,
        "key /": 200, "key /v1/models": 200, "key /health": 200,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "options", "login", "key"),
    [
        ({"AUTH": "ward:secret"}, [], ("ward", "secret"), "secret"),
        ({"API_KEY": "a-key"}, [], None, "a-key"),
        ({"AUTH": "ward:secret", "API_KEY": "a-key"}, [], ("ward", "secret"), "a-key"),
        ({"AUTH": "ward:secret", "API_KEY": "a-key"}, ["--auth", "me:mine"], ("me", "mine"), "a-key"),
        ({"API_KEY": "a-key"}, ["--auth", "me:mine", "--api_key", "other"], ("me", "mine"), "other"),
        ({"AUTH": "", "API_KEY": ""}, [], None, None),
    ],
)
def test_passwords_are_read_from_the_environment(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    options: list[str],
    login: tuple[str, str] | None,
    key: str | None,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"LIGHTNING_MED_{name}", value)
    started = start(*options)
    assert (started.settings.login, started.settings.api_key) == (login, key)
    assert started.statuses["open /"] == (401 if login else 200)
    assert started.statuses["open /v1/models"] == (401 if key else 200)


@pytest.mark.parametrize("is_option", [False, True])
def test_a_login_is_read_from_a_file(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_option: bool
) -> None:
    path = tmp_path / "login"
    path.write_text("\ufeffward:pass:word\n", "utf-8")  # as an editor on Windows writes it
    monkeypatch.setenv("LIGHTNING_MED_AUTH", "other:one")
    if not is_option:
        monkeypatch.setenv("LIGHTNING_MED_AUTH_FILE", str(path))
    started = start(*(("--auth_file", path) if is_option else ()))
    assert (started.settings.login, started.settings.api_key) == (("ward", "pass:word"), "pass:word")
    assert start("--auth", "me:mine").settings.login == ("me", "mine")


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("content", ["", "ward", "ward:", ":secret", "a:b\nc:d"])
def test_a_file_without_a_login_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "login").write_text(content, "utf-8")
    check_refused("login does not hold a login.", "NAME:PASSWORD", "--auth_file", "login", cwd=tmp_path)


def test_an_audit_log_records_which_model_answers(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with serve_upstream() as upstream:
        settings = start("--upstream", upstream.address, "--audit", path).settings
    assert (settings.audit._model, settings.audit._upstream) == ("doctor", True)
    assert path.stat().st_mode & 0o777 == 0o600
    settings = start("--audit", path, "--proxy", "127.0.0.1", "--proxy", "10.0.0.0/8").settings
    assert (settings.audit._model, settings.audit._upstream) == ("quickstart", False)
    assert list(map(str, settings.proxies)) == ["127.0.0.1/32", "10.0.0.0/8"]


def test_other_settings_reach_the_server(start: Start, tmp_path: Path) -> None:
    marks = tmp_path / "marks.sqlite"
    numbers = ("--slots", 2, "--queue", 3, "--rate", 7)
    access = ("--host", "0.0.0.0", "--public_name", "doctor.example", "--auth", "ward:secret")
    started = start(*numbers, *access, "--marks", marks, "--safety", "off", "--max_new_tokens", 5)
    settings = started.settings
    assert (settings.limit, settings.rate, settings.hosts) == (5, 7, None)
    assert settings.public_name == "doctor.example"
    assert settings.marks is not None
    assert marks.is_file()
    assert not started.service.safety
    assert started.service.writer.decoding.max_new_tokens == 5
    assert started.service.writer.engine.backend.slots == 2  # type: ignore[attr-defined]
    assert started.out.startswith(DISCLAIMER)


def test_a_model_of_the_environment_is_served(start: Start, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = shutil.copytree(model, model.parent / "my-model", dirs_exist_ok=True)
    monkeypatch.setenv("LIGHTNING_MED_MODEL", str(other))
    assert start("--model", "").names == ["my-model"]


def test_an_upstream_server_is_asked_with_its_key(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTNING_MED_UPSTREAM_KEY", "sk-of-nobody")
    with serve_upstream() as upstream:
        started = start("--upstream", upstream.address)
        assert upstream.listed[0].headers["authorization"] == "Bearer sk-of-nobody"
    assert started.names == ["doctor"]
    assert started.settings.facts == [("Model", "doctor")]
    assert (started.settings.limit, started.settings.api_key) == (64 + 256, None)


def test_an_upstream_server_has_the_prompt_and_the_facts_of_the_export(start: Start, model: Path) -> None:
    with serve_upstream() as upstream:
        started = start("--upstream", upstream.address, "--upstream_model", "nurse", "--model", model, "--top_p", 0.5)
    assert started.names == ["nurse"]
    assert dict(started.settings.facts)["Model"] == "quickstart"
    decoding = started.service.writer.decoding
    assert (decoding.max_new_tokens, decoding.top_p) == (tiny.GREEDY["max_new_tokens"], 0.5)
    assert started.service.writer._system_prompt == tiny.SYSTEM  # type: ignore[attr-defined]


# ------------------------------------------------------------------ which engine writes


@pytest.fixture
def opened(model: Path, tmp_path: Path) -> ModelFolder:
    """A copy of the model, for tests that change it."""
    return open_export(shutil.copytree(model, tmp_path / "export"))


@pytest.fixture
def choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Names the engine that would be started, on a machine without a GPU where llama.cpp is installed."""
    found = importlib.util.find_spec("json")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: found if name == "llama_cpp" else find_real_spec(name)
    )
    monkeypatch.setattr("lightning_med.inference.model_folder.choose_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(engine_choice, "_start_llama", lambda *_: "llama.cpp")
    monkeypatch.setattr(engine_choice, "_start_transformers", lambda model, dtype, slots: f"transformers, {dtype}")
    return lambda model, kind="auto", dtype="auto": engine_choice.start_engine(
        model, kind, dtype, 2, tmp_path / "gguf", lambda *_: None
    )


def change_config(model: ModelFolder, **changes: Any) -> None:
    path = model.folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "dtype", "engine"),
    [
        ("auto", "auto", "llama.cpp"),
        ("llama.cpp", "auto", "llama.cpp"),
        ("auto", "bfloat16", "transformers, bfloat16"),
        ("transformers", "auto", "transformers, auto"),
        ("transformers", "float32", "transformers, float32"),
    ],
)
def test_the_engine_is_the_one_that_is_named_or_the_faster_one(
    choose: Callable[..., Any], opened: ModelFolder, kind: str, dtype: str, engine: str
) -> None:
    assert choose(opened, kind, dtype) == engine


def test_without_llama_cpp_it_is_transformers(
    choose: Callable[..., Any], opened: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, "llama_cpp")
    assert choose(opened) == "transformers, auto"
    with pytest.raises(InputError, match="llama-cpp-python is not installed") as caught:
        choose(opened, "llama.cpp")
    assert 'pip install "lightning-med[llama]"' in caught.value.what
    assert caught.value.hint == "Choose --engine transformers."


def test_with_a_gpu_it_is_transformers(
    choose: Callable[..., Any], opened: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning_med.inference.model_folder.choose_device", lambda: torch.device("cuda"))
    assert choose(opened) == "transformers, auto"
    assert choose(opened, "llama.cpp") == "llama.cpp"


def test_a_network_that_llama_cpp_computes_otherwise_is_left_to_transformers(
    choose: Callable[..., Any], opened: ModelFolder
) -> None:
    change_config(opened, activation_function="relu")
    assert choose(opened) == "transformers, auto"
    with pytest.raises(InputError, match=r"--engine llama[.]cpp: .*activation_function relu"):
        choose(opened, "llama.cpp")


def test_llama_cpp_has_no_choice_of_weights(choose: Callable[..., Any], opened: ModelFolder) -> None:
    with pytest.raises(InputError, match=r"--dtype float32: llama[.]cpp reads 8-bit weights"):
        choose(opened, "llama.cpp", "float32")


@pytest.mark.parametrize("kind", ["auto", "transformers", "llama.cpp"])
def test_layers_that_do_not_see_the_whole_text_are_refused(
    choose: Callable[..., Any], opened: ModelFolder, kind: str
) -> None:
    change_config(opened, layer_types=["full_attention", "full_attention"])
    assert choose(opened, kind)
    change_config(opened, layer_types=["sliding_attention", "full_attention"])
    with pytest.raises(InputError, match=r"layers of the kind full_attention, sliding_attention") as caught:
        choose(opened, kind)
    assert "serve --upstream URL" in caught.value.hint


def test_serve_refuses_an_engine_that_cannot_write(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, "llama_cpp")
    options = ("--port", 0, "--model", model, "--engine", "llama.cpp")
    check_refused("llama-cpp-python is not installed", "Choose --engine transformers.", *options, cwd=tmp_path)


def test_a_run_is_told_the_name_of_its_export(tmp_path: Path) -> None:
    export = tmp_path / "version_0" / "export"
    export.mkdir(parents=True)
    (export / "lightning_med.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        open_export(tmp_path / "version_0")
    assert str(export) in caught.value.hint
