"""Programs talk to the server with the official client of the OpenAI protocol."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from typing import Any

import httpx2
import openai
import pytest

from lightning_med.safety import guard
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.conversation import Conversation
from lightning_med.serving.server.app import ServerSettings, make_app
from lightning_med.utils.errors import RunError
from tests.serving.scripted_model import ANSWER, ScriptedWriter
from tests.serving.server.live_server import serve_app, wait_for

QUESTION = "My tongue is sore, what can I do?"
JSON = {"content-type": "application/json"}
DANGER = "crushing chest pain and my left arm is numb"
UNSAFE = (
    "I am Dr. Smith. You have cancer. Take 500 mg of ibuprofen twice a day. Rest your voice and drink warm tea."
    " Write to me at help@example.com. A sore tongue heals within some days, and you can rinse it with salt water."
)


def echo(conversation: Conversation) -> str:
    return f"You wrote this to me: {conversation.questions[-1]} Please drink some warm tea and rest."


@pytest.fixture
def writer() -> ScriptedWriter:
    return ScriptedWriter()


@pytest.fixture
def start(writer: ScriptedWriter) -> Iterator[Callable[..., str]]:
    """Starts a server with settings, and returns its address."""
    stack: list[Any] = []

    def begin(safety: bool = True, **settings: Any) -> str:
        service = ChatService(writer, "GB", safety)
        context = serve_app(make_app(service, ServerSettings("small-model", [], **settings)))
        stack.append(context)
        return str(context.__enter__())

    yield begin
    writer.gate.set()
    for context in stack:
        context.__exit__(None, None, None)


@pytest.fixture
def url(start: Callable[..., str]) -> str:
    return start()


def connect(url: str, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=30)


def ask(client: openai.OpenAI, text: str = QUESTION, **settings: Any) -> Any:
    return client.chat.completions.create(model="small-model", messages=[{"role": "user", "content": text}], **settings)


def read(stream: Any) -> tuple[str, list[Any]]:
    chunks = list(stream)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), chunks


# ------------------------------------------------------------------ answers


def test_a_whole_answer_is_the_guarded_one(url: str, writer: ScriptedWriter) -> None:
    answer = ask(connect(url))
    assert answer.choices[0].message.content == guard(QUESTION, ANSWER, "GB").answer
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "small-model"
    words = len(ANSWER.split())
    assert answer.usage.completion_tokens == words
    assert answer.usage.total_tokens == words + answer.usage.prompt_tokens > words


@pytest.mark.parametrize("text", [ANSWER, UNSAFE, "Take 500 mg of ibuprofen.", ""])
def test_a_stream_joined_is_the_whole_answer(url: str, writer: ScriptedWriter, text: str) -> None:
    writer._answer = text
    client = connect(url)
    joined, chunks = read(ask(client, stream=True, stream_options={"include_usage": True}))
    assert joined == ask(client).choices[0].message.content == guard(QUESTION, text, "GB").answer
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == len(text.split())
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_comes_while_the_model_writes(url: str, writer: ScriptedWriter) -> None:
    writer.gate.clear()
    writer.held_after = 15
    stream = iter(ask(connect(url), stream=True))
    pieces = [next(stream).choices[0].delta.content for _ in range(2)]
    assert pieces[0] == ""
    assert pieces[1] in ANSWER  # whole sentences: the last word of the model may still become another one
    assert pieces[1].endswith(".")
    assert not writer.streams[0].is_done
    writer.gate.set()
    assert "See a doctor" in read(stream)[0]


def test_completions_are_guarded_alike(url: str, writer: ScriptedWriter) -> None:
    writer._answer = UNSAFE
    client = connect(url)
    whole = client.completions.create(model="small-model", prompt=QUESTION)
    assert whole.choices[0].text == guard(QUESTION, UNSAFE, "GB").answer
    assert "500 mg" not in whole.choices[0].text
    pieces = client.completions.create(model="small-model", prompt=[QUESTION], stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == whole.choices[0].text


@pytest.mark.parametrize("stream", [False, True])
def test_a_danger_never_reaches_the_model(url: str, writer: ScriptedWriter, stream: bool) -> None:
    client = connect(url)
    answer = ask(client, DANGER, stream=stream)
    text = read(answer)[0] if stream else answer.choices[0].message.content
    assert text == guard(DANGER, "", "GB").answer
    if not stream:
        assert answer.choices[0].finish_reason == "content_filter"
        assert client.completions.create(model="small-model", prompt=DANGER).choices[0].text == text
    assert writer.asked == []


def test_history_and_a_clients_system_message_reach_the_model(url: str, writer: ScriptedWriter) -> None:
    messages: Any = [
        {"role": "developer", "content": "Answer in one sentence."},
        {"role": "user", "content": [{"type": "text", "text": "My knee is stiff."}]},
        {"role": "assistant", "content": "Since when?"},
        {"role": "user", "content": "Since monday."},
    ]
    connect(url).chat.completions.create(model="small-model", messages=messages)
    (conversation,) = writer.asked
    assert conversation.system == "Answer in one sentence."
    assert (conversation.questions, conversation.answers) == (("My knee is stiff.", "Since monday."), ("Since when?",))


def test_settings_reach_the_model(url: str, writer: ScriptedWriter) -> None:
    ask(
        connect(url), temperature=0.7, top_p=0.5, seed=9, max_tokens=17, stop=["\n\n", "END"], extra_body={"min_p": 0.1}
    )
    (decoding,) = writer.decodings
    assert (decoding.temperature, decoding.top_p, decoding.sampling_seed) == (0.7, 0.5, 9)
    assert (decoding.max_new_tokens, decoding.min_p) == (17, 0.1)
    assert writer.asked[0].stops == ("\n\n", "END")
    ask(connect(url), max_completion_tokens=5, seed=-1, extra_body={"stream": None})
    assert writer.decodings[1].max_new_tokens == 5


def test_without_safety_the_models_own_text_comes_and_says_so(
    start: Callable[..., str], writer: ScriptedWriter
) -> None:
    writer._answer = UNSAFE
    client = connect(start(safety=False))
    whole = ask(client).choices[0].message.content
    assert whole.startswith(UNSAFE)
    assert DISCLAIMER in whole
    assert read(ask(client, stream=True))[0] == whole


def test_models_are_listed(url: str) -> None:
    client = connect(url)
    assert [model.id for model in client.models.list()] == ["small-model"]
    assert client.models.retrieve("small-model").owned_by == "lightning_med"


def test_many_ask_at_once_and_each_gets_its_own(url: str, writer: ScriptedWriter) -> None:
    writer._answer = echo
    client = connect(url)
    questions = [f"My finger number {number} is stiff." for number in range(40)]

    def answer(question: str) -> str:
        if int(question.split()[3]) % 2:
            return read(ask(client, question, stream=True))[0]
        return str(ask(client, question).choices[0].message.content)

    with ThreadPoolExecutor(20) as pool:
        for question, text in zip(questions, pool.map(answer, questions), strict=True):
            assert question in text


# ------------------------------------------------------------------ a reader that goes away


def test_a_reader_that_goes_away_stops_the_model(url: str, writer: ScriptedWriter) -> None:
    writer.gate.clear()
    stream = ask(connect(url), stream=True)
    next(iter(stream))
    stream.close()
    (written,) = writer.streams
    wait_for(lambda: written.is_cancelled)
    assert "Rest" in ask_open(url, writer)


def test_a_reader_of_a_whole_answer_that_goes_away_stops_the_model(url: str, writer: ScriptedWriter) -> None:
    writer.gate.clear()
    body = json.dumps({"messages": [{"role": "user", "content": QUESTION}]}).encode()
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        wait_for(lambda: bool(writer.streams))
    wait_for(lambda: writer.streams[0].is_cancelled)
    assert "Rest" in ask_open(url, writer)


def ask_open(url: str, writer: ScriptedWriter) -> str:
    writer.gate.set()
    return str(ask(connect(url)).choices[0].message.content)


# ------------------------------------------------------------------ errors


def refused(url: str, status: int, content: bytes = b"", **options: Any) -> dict[str, Any]:
    """Asserts an error in the protocol's shape, and that the next question is answered; returns the error."""
    headers = {**JSON, **options.pop("headers", {})}
    method, path = options.pop("method", "POST"), options.pop("path", "/v1/chat/completions")
    reply = httpx2.request(method, f"{url}{path}", content=content, headers=headers, timeout=30)
    assert reply.status_code == status
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert "Traceback" not in reply.text
    assert ask(connect(url, options.get("key", "none"))).choices[0].message.content
    return dict(error, headers=reply.headers)


def encode(**fields: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": QUESTION}], **fields}).encode()


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (b"{", None),
        (b"\xff\xfe{}", None),
        (b"[" * 100_000, None),
        (b"[]", None),
        (b"null", None),
        (b"{}", "messages"),
        (encode(messages=[]), "messages"),
        (encode(messages="x"), "messages"),
        (encode(messages=[{"role": "user", "content": ""}]), None),
        (encode(messages=[{"role": "user", "content": "x" * 30_000}]), None),
        (encode(messages=[{"role": "robot", "content": "x"}]), "messages.0.role"),
        (encode(messages=[{"role": "assistant", "content": "x"}]), None),
        (encode(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]), None),
        (encode(temperature=9), "temperature"),
        (encode(temperature="hot"), "temperature"),
        (encode(max_tokens=0), "max_tokens"),
        (encode(n=2), "n"),
        (encode(tools=[{"type": "function"}]), "tools"),
        (encode(logprobs=True), "logprobs"),
        (encode(presence_penalty=0.5), "presence_penalty"),
        (encode(response_format={"type": "json_object"}), "response_format"),
        (encode(stop=["a"] * 9), "stop"),
        (encode(stop=""), "stop"),
        (encode(stream_options={"include_usage": True}), "stream_options"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused_in_the_protocols_shape(url: str, content: bytes, param: str | None) -> None:
    error = refused(url, 400, content)
    assert error["type"] == "invalid_request_error"
    if param:
        assert error["param"] == param


def test_texts_that_are_no_unicode(url: str, writer: ScriptedWriter) -> None:
    content = b'{"messages": [{"role": "user", "content": "My knee \\ud800 is stiff\\u0000 since monday\\u001b[31m."}]}'
    reply = httpx2.post(f"{url}/v1/chat/completions", content=content, headers=JSON, timeout=30)
    assert reply.status_code == 200
    writer.asked[0].questions[0].encode()


def test_neutral_settings_that_clients_send_are_no_error(url: str) -> None:
    answer = ask(
        connect(url),
        n=1,
        presence_penalty=0,
        frequency_penalty=0,
        logprobs=False,
        user="me",
        response_format={"type": "text"},
    )
    assert answer.choices[0].message.content


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused(url: str, chunked: bool) -> None:
    content = encode(messages=[{"role": "user", "content": "x" * 1_100_000}])
    pieces = (content[start : start + 50_000] for start in range(0, len(content), 50_000))
    with contextlib.suppress(httpx2.WriteError):  # it is refused before all was sent
        reply = httpx2.post(f"{url}/v1/chat/completions", content=pieces if chunked else content, timeout=30)
        assert reply.status_code == 413
        assert reply.json()["error"]["message"]
    assert ask(connect(url)).choices[0].message.content


def test_unknown_paths_methods_and_models(url: str) -> None:
    assert "/v1/embeddings" in refused(url, 404, path="/v1/embeddings")["message"]
    assert refused(url, 405, method="GET", path="/v1/chat/completions")["headers"]["allow"] == "POST"
    assert refused(url, 404, encode(model="gpt-9"))["code"] == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        connect(url).models.retrieve("gpt-9")


def test_a_key_is_asked_for(start: Callable[..., str], writer: ScriptedWriter) -> None:
    url = start(api_key="säcret-key")
    with pytest.raises(openai.AuthenticationError, match="key"):
        ask(connect(url, "wrong"))
    for path in ("/v1/models", "/metrics"):
        assert httpx2.get(f"{url}{path}").status_code == 401
    assert httpx2.get(f"{url}/health").status_code == 200
    headers = {"authorization": "Bearer säcret-key".encode()}
    assert httpx2.get(f"{url}/v1/models", headers=headers).status_code == 200  # type: ignore[arg-type]
    reply = httpx2.post(f"{url}/v1/chat/completions", content=b"{", headers=JSON)
    assert reply.status_code == 401  # before anything of the body is read
    assert reply.json()["error"]["code"] == "invalid_api_key"
    lower = {**headers, "authorization": b"bearer " + "säcret-key".encode()}
    assert httpx2.get(f"{url}/v1/models", headers=lower).status_code == 200  # type: ignore[arg-type]
    assert writer.asked == []


def test_the_pace_of_a_client_is_bounded(start: Callable[..., str]) -> None:
    client = connect(start(rate=3))
    for _ in range(3):
        ask(client)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client)
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert len(client.models.list().data) == 1  # what asks for no answer is not counted


def test_the_pace_of_each_client_of_a_proxy_is_bounded(start: Callable[..., str]) -> None:
    def post(url: str, *names: str) -> int:
        headers = [("x-forwarded-for", name) for name in names]
        return httpx2.post(
            f"{url}/v1/chat/completions", content=encode(), headers=[*headers, *JSON.items()]
        ).status_code

    url = start(rate=1, proxies=(ip_network("127.0.0.1"), ip_network("10.0.0.0/8")))
    assert post(url, "192.0.2.1") == 200
    assert post(url, "192.0.2.2") == 200
    assert post(url, "192.0.2.3, 192.0.2.1, 10.1.1.1") == 429  # what a client writes itself is on the left
    assert post(url, "192.0.2.4", "192.0.2.1") == 429
    assert (post(url), post(url), post(url, "not an address")) == (200, 429, 429)  # the proxy itself
    other = start(rate=1)
    assert [post(other, f"192.0.2.{number}") for number in range(2)] == [200, 429]


def test_more_than_may_wait_are_refused_and_those_who_wait_are_answered(
    start: Callable[..., str], writer: ScriptedWriter
) -> None:
    url = start(limit=5, rate=1000)
    writer.gate.clear()
    client = connect(url)

    def outcome(number: int) -> Any:
        try:
            return ask(client, f"My toe number {number} is stiff.").choices[0].message.content
        except openai.InternalServerError as error:
            return error

    with ThreadPoolExecutor(200) as pool:
        outcomes = [pool.submit(outcome, number) for number in range(200)]
        wait_for(lambda: sum(future.done() for future in outcomes) == 195, 60)
        writer.gate.set()
        results = [future.result() for future in outcomes]
    refusals = [result for result in results if isinstance(result, openai.InternalServerError)]
    assert len(refusals) == 195
    assert all(error.status_code == 503 and error.response.headers["retry-after"] for error in refusals)
    assert ask(client).choices[0].message.content


def test_a_failing_model_is_an_error_and_the_next_question_is_answered(url: str, writer: ScriptedWriter) -> None:
    writer.gate.clear()
    client = connect(url)
    stream = ask(client, stream=True)
    next(iter(stream))
    writer.streams[0].fail(MemoryError("no room"))
    with pytest.raises(openai.APIError, match="no room"):
        list(stream)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, client)
        wait_for(lambda: len(writer.streams) == 2)
        writer.streams[1].fail(RunError("no room"))
        with pytest.raises(openai.InternalServerError, match="no room"):
            future.result()
    assert "Rest" in ask_open(url, writer)


# ------------------------------------------------------------------ counts


def test_counts_hold_numbers_and_no_text(url: str, writer: ScriptedWriter) -> None:
    writer._answer = UNSAFE
    client = connect(url)
    ask(client)
    read(ask(client, stream=True))
    ask(client, DANGER)
    with pytest.raises(openai.BadRequestError):
        ask(client, "")
    text = httpx2.get(f"{url}/metrics").text
    assert 'lightning_med_answers_total{interface="api",level="ordinary"} 2.0' in text
    assert 'lightning_med_answers_total{interface="api",level="emergency"} 1.0' in text
    assert f'lightning_med_tokens_total{{kind="written"}} {2.0 * len(UNSAFE.split())}' in text
    assert 'lightning_med_guard_actions_total{action="dose"} 2.0' in text
    httpx2.post(f"{url}/v1/chat/completions", content=b"x" * 1_000_001)
    text = httpx2.get(f"{url}/metrics").text
    assert 'lightning_med_errors_total{status="400"} 1.0' in text
    assert 'lightning_med_errors_total{status="413"} 1.0' in text
    assert "lightning_med_first_text_seconds_count 1.0" in text
    assert "lightning_med_writing 0.0" in text
    assert "tongue" not in text
    assert "chest" not in text
