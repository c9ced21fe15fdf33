"""Downloads from local stand-ins for Kaggle and the Hub, and the messages when they fail."""

from __future__ import annotations

import base64
import json
import os
import pty
import socket
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from lightning_med.tokenization.tokenizer import restore_tokenizer, store_tokenizer
from tests.download_worker import Worker
from tests.servers import Answer, Reply, Request, by_digest, compute_sha256, hub, kaggle, make_zip, serve, storage

TABLE = b"input,output\nMy tongue hurts.,Rinse with salt water.\n"
LARGE = TABLE * 230_000  # 12 MB: the Hub's client keeps what arrived in steps of 10 MB, kagglehub in steps of one
CUT = 11_000_000
FILES = {"train.csv": TABLE}
ARRIVED = {"train.csv": compute_sha256(TABLE)}
HUB = "hub:clinic/consultations"
KAGGLE = "kaggle:clinic/consultations"
KAGGLE_PORT = 7777  # the only one for KAGGLE_API_ENVIRONMENT=TEST
PATIENCE = 120  # seconds of waiting between attempts, in total, before a user takes the command for hung

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture
def ask(worker: Worker, tmp_path: Path) -> Ask:
    """Fetches a source, a tokenizer or a base in a process with its own home folder, and returns the result."""

    def run(what: str, name: str, **settings: str) -> dict[str, Any]:
        result = worker.ask(tmp_path / "home", what, name, **settings)
        assert result.pop("slept") < PATIENCE
        return result

    return run


def refusal(result: dict[str, Any], *parts: str) -> str:
    """Returns both lines of an error, checked to be two and to contain the parts."""
    assert set(result) == {"what", "hint"}
    assert "Traceback" not in result["what"]
    text = f"{result['what']}\n{result['hint']}"
    assert text.count("\n") == 1
    for part in parts:
        assert part in text
    return text


def closed_port() -> int:
    """A port that no server listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def first(replies: list[Reply], answer: Answer, method: str, part: str) -> Answer:
    """A server that gives these replies to the first requests of one kind, and then its normal answers."""

    def either(request: Request) -> Reply:
        return replies.pop(0) if replies and request.method == method and part in request.path else answer(request)

    return either


# The Hub


def test_hub_data_set_arrives_as_tables_without_the_rest(ask: Ask) -> None:
    files = {"data/train.csv": TABLE, "more/LAST.CSV": b"input,output\n", "README.md": b"# Words", "w.bin": b"0000"}
    with serve(hub(files)) as server:
        result = ask("source", HUB, HF_ENDPOINT=server.address)
    assert result["files"] == {"train.csv": compute_sha256(TABLE), "LAST.CSV": compute_sha256(b"input,output\n")}
    assert not [r for r in server.requests if r.path.endswith((".md", ".bin"))]


def test_hub_shards_come_from_a_storage_that_never_sees_the_token(ask: Ask, tmp_path: Path) -> None:
    files = {}
    for number in range(2):
        pd.DataFrame({"input": [f"question {number}"], "output": ["answer"]}).to_parquet(tmp_path / "shard")
        files[f"data/train-0000{number}-of-00002.parquet"] = (tmp_path / "shard").read_bytes()
    with serve(storage(by_digest(files))) as far, serve(hub(files, storage=far.address, token="secret")) as server:
        result = ask("source", HUB, HF_ENDPOINT=server.address, HF_TOKEN="secret")
    assert result["files"] == {path.removeprefix("data/"): compute_sha256(body) for path, body in files.items()}
    assert {r.headers.get("authorization") for r in server.requests} == {"Bearer secret"}
    assert len(far.find_requests()) == 2
    assert not [r for r in far.requests if "authorization" in r.headers]


def test_hub_repository_that_was_renamed(ask: Ask) -> None:
    present = hub(FILES, name="clinic/renamed", token="secret")

    def answer(request: Request) -> Reply:
        if "clinic/consultations" not in request.path:
            return present(request)
        return Reply(307, headers={"Location": request.path.replace("clinic/consultations", "clinic/renamed")})

    with serve(answer) as server:
        assert ask("source", HUB, HF_ENDPOINT=server.address, HF_TOKEN="secret") == {"files": ARRIVED}


def test_hub_data_set_once_fetched_is_read_without_a_request(ask: Ask) -> None:
    with serve(hub(FILES)) as server:
        ask("source", HUB, HF_ENDPOINT=server.address)
        asked = len(server.requests)
        assert ask("source", HUB, HF_ENDPOINT=server.address, HF_HUB_OFFLINE="1") == {"files": ARRIVED}
        assert len(server.requests) == asked
    assert ask("source", HUB, HF_ENDPOINT=server.address) == {"files": ARRIVED}  # the server has gone


def test_hub_data_set_without_tables(ask: Ask) -> None:
    with serve(hub({"README.md": b"nothing"})) as server:
        refusal(ask("source", HUB, HF_ENDPOINT=server.address), f"{HUB} holds no table", ".csv")


def test_hub_data_set_that_is_not_there(ask: Ask) -> None:
    with serve(hub({}, name="clinic/other")) as server:
        result = ask("source", HUB, HF_ENDPOINT=server.address)
    refusal(result, HUB, "no such public repository", "--data.source FOLDER")


@pytest.mark.parametrize(
    ("settings", "gated", "message"),
    [
        ({}, False, "or it asks for a login"),
        ({}, True, "accepted its terms"),
        ({"HF_TOKEN": "wrong"}, False, "does not accept the token"),
        ({"HF_TOKEN": "wrong"}, True, "does not accept the token"),
    ],
)
def test_hub_without_the_right_token(ask: Ask, settings: dict[str, str], gated: bool, message: str) -> None:
    with serve(hub(FILES, token="secret", gated=gated)) as server:
        result = ask("source", HUB, HF_ENDPOINT=server.address, **settings)
        refusal(result, HUB, message, "HF_TOKEN", "--data.source FOLDER")
        assert ask("source", HUB, HF_ENDPOINT=server.address, HF_TOKEN="secret") == {"files": ARRIVED}


def test_hub_terms_not_accepted_by_a_known_person(ask: Ask) -> None:
    waiting = Reply(403, b'{"error": "Your request awaits a review"}', {"X-Error-Code": "GatedRepo"})
    with serve(first([waiting] * 9, hub(FILES, token="secret"), "HEAD", "/resolve/")) as server:
        result = ask("source", HUB, HF_ENDPOINT=server.address, HF_TOKEN="secret")
    refusal(result, HUB, "accepted its terms", server.address)


def test_hub_download_that_breaks_off_goes_on_where_it_ended(ask: Ask) -> None:
    files = {"train.csv": LARGE}
    with serve(storage(by_digest(files), [CUT])) as far, serve(hub(files, storage=far.address)) as server:
        assert ask("source", HUB, HF_ENDPOINT=server.address) == {"files": {"train.csv": compute_sha256(LARGE)}}
    ranges = [r.headers.get("range") for r in far.find_requests()]
    assert ranges == [None, f"bytes={10 * 2**20}-"]


@pytest.mark.parametrize(("cut", "ranges"), [(0, True), (CUT, False)])
def test_hub_download_that_always_breaks_off(ask: Ask, cut: int, ranges: bool) -> None:
    """It ends with one clear error, and no partial file that the next call would take for complete."""
    files = {"train.csv": LARGE}
    far_away = storage(by_digest(files), [cut], ranges, repeat_last_cut=True)
    with serve(far_away) as far, serve(hub(files, storage=far.address)) as server:
        result = ask("source", HUB, HF_ENDPOINT=server.address)
        refusal(result, HUB, server.address, "--data.source FOLDER")
        refusal(ask("source", HUB, HF_ENDPOINT=server.address, HF_HUB_OFFLINE="1"), HUB)
        assert len(far.find_requests()) < 10
    with serve(hub(files)) as server:
        assert ask("source", HUB, HF_ENDPOINT=server.address) == {"files": {"train.csv": compute_sha256(LARGE)}}


def test_hub_half_of_a_file_of_untold_length_is_not_believed(ask: Ask) -> None:
    far_away = storage(by_digest(FILES), [20], has_length=False)
    with serve(far_away) as far, serve(hub(FILES, storage=far.address, sized=False)) as server:
        refusal(ask("source", HUB, HF_ENDPOINT=server.address), "train.csv", f"20 bytes of {len(TABLE)}")
        assert ask("source", HUB, HF_ENDPOINT=server.address) == {"files": ARRIVED}


@pytest.mark.parametrize(("method", "part"), [("GET", "/revision/"), ("GET", "/tree/"), ("HEAD", "/resolve/")])
@pytest.mark.parametrize("status", [429, 503])
def test_hub_that_cannot_just_now(ask: Ask, status: int, method: str, part: str) -> None:
    """One line that names the status, wherever it happens, and no wait of an hour because the Hub asks for one."""
    later = Reply(status, headers={"Retry-After": "3600", "RateLimit": '"api";r=0;t=3600'})
    with serve(first([later] * 99, hub(FILES), method, part)) as server:
        refusal(ask("source", HUB, HF_ENDPOINT=server.address), HUB, str(status))


@pytest.mark.parametrize(("method", "part"), [("GET", "/tree/"), ("HEAD", "/resolve/")])
def test_hub_that_stumbles_once(ask: Ask, method: str, part: str) -> None:
    with serve(first([Reply(503)], hub(FILES), method, part)) as server:
        assert ask("source", HUB, HF_ENDPOINT=server.address) == {"files": ARRIVED}


def test_hub_behind_a_login_page(ask: Ask) -> None:
    with serve(lambda _: Reply(200, b"<html>Sign in</html>", {"Content-Type": "text/html"})) as server:
        refusal(ask("source", HUB, HF_ENDPOINT=server.address), HUB, server.address, "login page")


def test_hub_unreachable_names_the_endpoint_and_the_local_way(ask: Ask) -> None:
    endpoint = f"http://127.0.0.1:{closed_port()}"
    refusal(ask("source", HUB, HF_ENDPOINT=endpoint), HUB, endpoint, "refused", "--data.source FOLDER")
    refusal(ask("files", "clinic/words", HF_ENDPOINT=endpoint), "clinic/words", endpoint, "--model.base FOLDER")


def test_hub_name_that_cannot_be_one(ask: Ask) -> None:
    refusal(ask("source", "hub:a/b/c", HF_ENDPOINT="http://127.0.0.1:9"), "hub:a/b/c", "--data.source FOLDER")


def test_hub_tokenizer_and_base_arrive_and_stay(ask: Ask, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    network = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=600, n_positions=16))
    network.save_pretrained(saved)
    tokenizer.save_pretrained(saved)
    files = {path.name: path.read_bytes() for path in saved.iterdir()}
    files |= {"onnx/config.json": b"{}", "pytorch_model.bin": b"0", "README.md": b"# Words"}
    far_away = storage(by_digest(files))
    with serve(far_away) as far, serve(hub(files, "models", "clinic/words", storage=far.address)) as server:
        result = ask("model", "clinic/words", HF_ENDPOINT=server.address)
        asked = len(server.requests)
        assert ask("model", "clinic/words", HF_ENDPOINT=server.address, HF_HUB_OFFLINE="1") == result
        assert len(server.requests) == asked
    arrived = result["tokenizer"]["tokenizer"]
    assert json.loads(arrived) == json.loads(store_tokenizer(tokenizer))
    assert restore_tokenizer(arrived).get_vocab() == tokenizer.get_vocab()
    assert result["base"]["weights"] == sum(weight.double().sum().item() for weight in network.parameters())
    assert not [r for r in server.requests if r.path.endswith(("onnx/config.json", ".bin", ".md"))]


def test_hub_without_this_model(ask: Ask) -> None:
    with serve(hub({}, "models", "clinic/other")) as server:
        result = ask("files", "clinic/words", HF_ENDPOINT=server.address)
    refusal(result, "clinic/words", "no such public repository", "--model.base FOLDER")


@pytest.mark.slow
def test_the_command_ends_with_two_after_a_download_that_failed(ask: Ask, tmp_path: Path) -> None:
    command = "prepare --data.source sample --data.tokenizer clinic/words"
    with serve(hub({}, "models", "clinic/other")) as server:
        result = ask("command", command, HF_ENDPOINT=server.address, LIGHTNING_MED_CACHE=str(tmp_path / "cache"))
    printed = (tmp_path / "home" / "output.txt").read_text(encoding="utf-8")
    assert result == {"status": 2}, printed
    assert "lightning-med: clinic/words: the Hub has no such public repository" in printed
    assert "--data.tokenizer FOLDER" in printed
    assert "Traceback" not in printed


# Kaggle


def kaggle_with(far: str, **fields: Any) -> Answer:
    """A Kaggle whose data lies in a storage elsewhere."""
    return kaggle(Reply(302, headers={"Location": f"{far}/archive.zip"}), **fields)


@pytest.fixture
def kaggle_port() -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", KAGGLE_PORT))
        except OSError:
            pytest.skip(f"port {KAGGLE_PORT} is taken, and kagglehub's test setting knows no other")
    return KAGGLE_PORT


def test_kaggle_data_set_arrives_and_stays(ask: Ask, kaggle_port: int) -> None:
    """With kagglehub's own test setting; the tests below replace Kaggle's address."""
    archive = Reply(
        body=make_zip({"dialogues.csv": TABLE, "notes.txt": b"no table"}), headers={"Content-Type": "a/zip"}
    )
    with serve(kaggle(archive), kaggle_port):
        result = ask("source", KAGGLE, KAGGLE_API_ENVIRONMENT="TEST")
    assert result["files"] == {"dialogues.csv": compute_sha256(TABLE)}
    with serve(kaggle(Reply(500)), kaggle_port):  # the second time only the version is asked for
        assert ask("source", KAGGLE, KAGGLE_API_ENVIRONMENT="TEST") == result


BASIC = f"Basic {base64.b64encode(b'ada:key').decode()}"


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"KAGGLE_API_TOKEN": "secret"}, "Bearer secret"),
        ({"KAGGLE_USERNAME": "ada", "KAGGLE_KEY": "key"}, BASIC),
        ({"kaggle.json": '{"username": "ada", "key": "key"}'}, BASIC),
    ],
)
def test_kaggle_credentials_open_the_door_and_stay_with_kaggle(
    ask: Ask, tmp_path: Path, settings: dict[str, str], header: str
) -> None:
    if "kaggle.json" in settings:
        (tmp_path / "home" / ".kaggle").mkdir(parents=True)
        (tmp_path / "home" / ".kaggle" / "kaggle.json").write_text(settings["kaggle.json"])
        settings = {}
    with (
        serve(storage({"/archive.zip": make_zip(FILES)})) as far,
        serve(kaggle_with(far.address, credentials=header)) as server,
    ):
        refusal(ask("source", KAGGLE, KAGGLE=server.address, KAGGLE_API_TOKEN="wrong"), KAGGLE, "401", "wrong")
        assert ask("source", KAGGLE, KAGGLE=server.address, **settings) == {"files": ARRIVED}
    assert len(far.find_requests()) == 1
    assert "authorization" not in far.requests[0].headers


@pytest.mark.parametrize("status", [401, 403])
def test_kaggle_without_credentials(ask: Ask, status: int) -> None:
    refused = Reply(status, json.dumps({"code": status, "message": "Permission denied"}).encode())
    with serve(kaggle(refused, refused)) as server:
        result = ask("source", KAGGLE, KAGGLE=server.address)
    refusal(result, KAGGLE, str(status), "without credentials", "KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "archive.zip")


def test_kaggle_credentials_that_are_broken(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "home" / ".kaggle").mkdir(parents=True)
    (tmp_path / "home" / ".kaggle" / "kaggle.json").write_text("{not json")
    text = refusal(ask("source", KAGGLE, KAGGLE="http://127.0.0.1:9"), "kaggle.json")
    assert "is not a data set's name" not in text


def test_kaggle_data_set_that_is_not_there(ask: Ask) -> None:
    with serve(kaggle(Reply(500))) as server:
        result = ask("source", "kaggle:clinic/nothing", KAGGLE=server.address)
    refusal(result, "kaggle:clinic/nothing", "404", "kaggle.com/datasets/clinic/nothing", "--data.source archive.zip")


@pytest.mark.parametrize("name", ["consultations", "clinic/consultations/versions/last"])
def test_kaggle_name_that_cannot_be_one(ask: Ask, name: str) -> None:
    refusal(ask("source", f"kaggle:{name}"), f"kaggle:{name} is not a data set's name", "kaggle:OWNER/NAME")


def test_kaggle_unreachable(ask: Ask) -> None:
    result = ask("source", KAGGLE, KAGGLE=f"http://127.0.0.1:{closed_port()}")
    refusal(result, f"{KAGGLE}: Kaggle cannot be reached", "--data.source archive.zip")


def test_kaggle_data_set_once_fetched_is_read_without_kaggle(ask: Ask, tmp_path: Path) -> None:
    with serve(storage({"/archive.zip": make_zip(FILES)})) as far, serve(kaggle_with(far.address)) as server:
        ask("source", KAGGLE, KAGGLE=server.address)
        asked = len(server.requests)
        assert ask("source", f"{KAGGLE}/versions/3", KAGGLE=server.address) == {"files": ARRIVED}
        assert len(server.requests) == asked
    assert ask("source", KAGGLE, KAGGLE=server.address) == {"files": ARRIVED}  # the server has gone
    printed = (tmp_path / "home" / "output.txt").read_text(encoding="utf-8")
    assert "Kaggle does not answer; version 3 is taken from this machine's cache" in printed


@pytest.mark.parametrize("ranges", [True, False])
def test_kaggle_download_that_breaks_off_ends_whole(ask: Ask, ranges: bool) -> None:
    far_away = storage({"/archive.zip": make_zip({"train.csv": LARGE})}, [CUT], ranges)
    with serve(far_away) as far, serve(kaggle_with(far.address)) as server:
        result = ask("source", KAGGLE, KAGGLE=server.address)
    assert result == {"files": {"train.csv": compute_sha256(LARGE)}}
    assert [r.headers["range"] for r in far.find_requests() if "range" in r.headers] == [
        f"bytes={CUT // 2**20 * 2**20}-"
    ]


def test_kaggle_download_that_always_breaks_off(ask: Ask) -> None:
    archive = {"/archive.zip": make_zip({"train.csv": LARGE})}
    with (
        serve(storage(archive, [CUT, CUT, 0], repeat_last_cut=True)) as far,
        serve(kaggle_with(far.address)) as server,
    ):
        result = ask("source", KAGGLE, KAGGLE=server.address)
        refusal(result, KAGGLE, "broke off", "Start again", "--data.source archive.zip")
    with serve(storage(archive)) as far, serve(kaggle_with(far.address)) as server:
        result = ask("source", KAGGLE, KAGGLE=server.address)
    assert result == {"files": {"train.csv": compute_sha256(LARGE)}}
    assert f"bytes={CUT // 2**20 * 2**20}-" in [r.headers.get("range") for r in far.find_requests()]


def damaged() -> bytes:
    whole = make_zip({"dialogues.csv": TABLE * 50})
    return whole[:200] + bytes(100) + whole[300:]


@pytest.mark.parametrize("body", [make_zip({"dialogues.csv": TABLE * 50})[:-40], b"<html>Sign in</html>", damaged()])
def test_kaggle_download_that_is_no_archive(ask: Ask, body: bytes) -> None:
    """The message is about the download, not the name, and the next download does not resume from the bad one."""
    with serve(storage({"/archive.zip": body})) as far, serve(kaggle_with(far.address)) as server:
        text = refusal(ask("source", KAGGLE, KAGGLE=server.address), KAGGLE, "cannot be used", "archive.zip")
        assert "is not a data set's name" not in text
    with serve(storage({"/archive.zip": make_zip(FILES)})) as far, serve(kaggle_with(far.address)) as server:
        assert ask("source", KAGGLE, KAGGLE=server.address) == {"files": ARRIVED}


@pytest.mark.parametrize("where", ["GetDataset", "DownloadDataset", "archive.zip"])
@pytest.mark.parametrize(("status", "message"), [(429, "too many requests"), (503, "on its side")])
def test_kaggle_that_cannot_just_now(ask: Ask, status: int, message: str, where: str) -> None:
    page = Reply(status, b"<html>Later</html>", {"Content-Type": "text/html", "Retry-After": "3600"})
    far_away = first([page] * 9, storage({"/archive.zip": make_zip(FILES)}), "GET", where)
    with serve(far_away) as far, serve(first([page] * 9, kaggle_with(far.address), "POST", where)) as server:
        result = ask("source", KAGGLE, KAGGLE=server.address)
    refusal(result, KAGGLE, str(status), message, "later", "--data.source archive.zip")


def test_kaggle_behind_a_login_page(ask: Ask) -> None:
    page = Reply(200, b"<html>Sign in</html>", {"Content-Type": "text/html"})
    with serve(kaggle(page, page)) as server:
        text = refusal(ask("source", KAGGLE, KAGGLE=server.address), KAGGLE, "login page", "archive.zip")
    assert "is not a data set's name" not in text


# Both


@pytest.mark.parametrize("door", [HUB, KAGGLE])
def test_a_terminal_shows_how_far_a_download_is(worker: Worker, tmp_path: Path, door: str) -> None:
    files, terminal = {"train.csv": LARGE}, b""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))  # a bar fits in

    def read() -> None:
        nonlocal terminal
        try:
            while part := os.read(ours, 4096):
                terminal += part
        except OSError:
            pass  # the other side is closed

    reader = threading.Thread(target=read)
    reader.start()
    far_away = storage({**by_digest(files), "/archive.zip": make_zip(files)})
    with (
        serve(far_away) as far,
        serve(hub(files, storage=far.address)) as the_hub,
        serve(kaggle_with(far.address)) as the_kaggle,
    ):
        settings = {"HF_ENDPOINT": the_hub.address, "KAGGLE": the_kaggle.address}
        result = worker.ask(tmp_path / "home", "source", door, output=os.ttyname(theirs), **settings)
    os.close(theirs)
    reader.join()
    os.close(ours)
    assert result["files"] == {"train.csv": compute_sha256(LARGE)}
    assert b"100%" in terminal
