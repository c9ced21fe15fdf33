"""Answers of an upstream server: what it is asked, and what of its text is shown."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from lightning_med.inference.generation import GeneratedAnswer
from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.conversation import Conversation
from lightning_med.serving.reply import Reply
from lightning_med.serving.server.protocol import count_usage, find_finish_reason
from lightning_med.serving.upstream.writer import UpstreamLimits, UpstreamWriter
from lightning_med.utils.errors import RunError
from tests.servers import Request
from tests.serving.upstream_server import DONE, HANG, TEXT, Script, Upstream, chunk, event, say, serve_upstream, usage

QUESTION = "My tongue is sore, what can I do?"
URGENT = "My baby has had a fever of 39.5 for three days, what can I do?"
ASKED = Conversation((QUESTION,))


@contextmanager
def connect(
    answer: Callable[[Request], Script] | Script | None = None, **settings: Any
) -> Iterator[tuple[UpstreamWriter, Upstream]]:
    """A writer before a stand-in."""
    with serve_upstream(answer) as upstream:
        writer = UpstreamWriter(upstream.address, **settings)
        try:
            yield writer, upstream
        finally:
            writer.close()


def write(parts: list[bytes], **settings: Any) -> Any:
    """The raw answer to a question, of a server that sends these parts."""
    with connect(Script(parts), **settings) as (writer, _):
        return writer.write(ASKED, writer.decoding).stream.get_answer(20)


def test_an_answer_is_guarded_and_counted() -> None:
    with connect() as (writer, upstream):
        reply = ChatService(writer).reply(ASKED)
        assert reply.wait().startswith(TEXT)
        assert "not medical advice" in reply.text
        assert count_usage(reply) == {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50}
        assert find_finish_reason(reply) == "stop"
        assert upstream.asked[0].path == "/v1/chat/completions"
        assert writer.load == (0, 0)


def test_text_is_shown_while_it_is_written() -> None:
    gate, parts = threading.Event(), say()

    def slow() -> Iterator[bytes]:
        yield from parts[:-8]
        gate.wait(20)
        yield from parts[-8:]

    with connect(Script(slow())) as (writer, _):
        reply = ChatService(writer).reply(ASKED)
        pieces = iter(reply)
        first = next(pieces)
        assert TEXT.startswith(first.strip())
        assert not reply.is_done
        assert writer.load == (1, 0)
        gate.set()
        assert (first + "".join(pieces)).startswith(TEXT)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pieces_of_any_size_hold_the_same(size: int) -> None:
    text = "Ruhe für die Zunge – und 茶 🍵. "
    parts = [b": keep-alive\r\n\r\n", b"event: message\r\nid: 3\r\nretry: 10\r\n"]
    parts += [piece.replace(b"\n", b"\r\n") for piece in (chunk(text), chunk(text, "stop"), DONE)]
    body = b"".join(parts)
    whole = write([body[start : start + size] for start in range(0, len(body), size)])
    assert whole.text == f"{text}{text}".strip()
    assert (whole.ended, whole.tokens, whole.prompt_tokens) == (True, 2, 0)


def test_characters_may_be_split_between_pieces() -> None:
    body = 'data: {"choices": [{"delta": {"content": "Tee 🍵"}, "finish_reason": "stop"}]}'.encode()
    assert write([body[:-50], *(bytes([byte]) for byte in body[-50:])]).text == "Tee 🍵"  # no line end, no [DONE]


@pytest.mark.parametrize(
    ("parts", "text", "ended"),
    [
        ([chunk("\n  Drink"), chunk(" tea.\n"), chunk(reason="length"), DONE], "Drink tea.", False),
        ([chunk("Drink "), chunk("tea."), DONE], "Drink tea.", False),  # no reason
        ([chunk("Drink tea.", "stop")], "Drink tea.", True),  # no [DONE]: transformers serve
        ([chunk("Drink\x1b[31m tea\x07.\ud83d", "stop")], "Drink[31m tea.", True),
        ([chunk(reasoning_content="A tongue?"), chunk("Drink tea."), chunk(reason="stop")], "Drink tea.", True),
        ([chunk("<thi"), chunk("nk>A tongue?"), chunk("</think>\nDrink tea."), chunk(reason="stop")], "Drink tea.", True),
        ([chunk("<think>A tongue?"), chunk(reason="length")], "", False),
        ([event({"choices": [{"index": 1, "delta": {"content": "Other."}}]}), chunk("Drink tea.", "stop")], "Drink tea.", True),
        ([chunk(None), chunk("Drink tea.", "stop"), DONE, b"data: what follows"], "Drink tea.", True),
        ([DONE], "", False),
    ],
)  # fmt: skip
def test_the_text_of_streams(parts: list[bytes], text: str, ended: bool) -> None:
    whole = write(parts)
    assert (whole.text, whole.ended) == (text, ended)


def test_text_only_grows() -> None:
    parts = [chunk(text) for text in (" ", "<", "think>no", "</think> ", "Drink", " ", "\n", "tea", ". ")]
    seen: list[str] = []
    with connect(Script([*parts, chunk(reason="stop"), DONE])) as (writer, _):
        stream = writer.write(ASKED, writer.decoding).stream
        stream.listen(lambda: seen.append(stream.text))
        assert "".join(stream) == "Drink \ntea."
    assert all(after.startswith(before) for before, after in pairwise(seen))


def test_tokens_are_those_that_the_server_counts_last() -> None:
    whole = write([usage(9, 1), chunk("Drink tea.", "stop"), usage(9, 4), DONE])
    assert (whole.tokens, whole.prompt_tokens) == (4, 9)


def test_an_answer_without_end_is_cut_and_its_connection_closed() -> None:
    with connect(Script([chunk("tea " * 20), HANG]), limits=UpstreamLimits(characters=50)) as (writer, upstream):
        whole = writer.write(ASKED, writer.decoding).stream.get_answer(20)
        assert whole.text == ("tea " * 20)[:50].strip()
        assert not whole.ended
        assert upstream.gone.wait(20)


@pytest.mark.parametrize(
    ("script", "text"),
    [(Script(silent=True), ""), (Script([HANG]), ""), (Script([chunk("Drink tea."), HANG]), "Drink tea.")],
)
def test_cancelling_closes_the_connection(script: Script, text: str) -> None:
    with connect(script) as (writer, upstream):
        stream = writer.write(ASKED, writer.decoding).stream
        assert upstream.came.wait(20)
        assert not text or next(iter(stream)) == text
        assert not upstream.gone.is_set()
        stream.cancel()
        assert upstream.gone.wait(20)
        assert writer.load == (0, 0)
        assert stream.get_answer() == GeneratedAnswer(text, ended=False, tokens=0)


def test_a_reader_that_goes_away_closes_the_connection() -> None:
    with connect(Script([*say()[:12], HANG])) as (writer, upstream):
        pieces = iter(ChatService(writer).reply(ASKED))
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
        assert upstream.gone.wait(20)


def test_answers_that_wait_may_be_cancelled() -> None:
    with connect(Script([chunk("Rest."), HANG]), limits=UpstreamLimits(connections=1)) as (writer, upstream):
        first = writer.write(ASKED, writer.decoding).stream
        assert next(iter(first))
        second = writer.write(ASKED, writer.decoding).stream
        assert writer.load == (1, 1)
        second.cancel()
        assert writer.load == (1, 0)
        first.cancel()
        assert upstream.gone.wait(20)
        assert len(upstream.asked) == 1


def test_more_answers_than_connections_wait() -> None:
    first_ends, order = threading.Event(), []

    def answer(request: Request) -> Script:
        order.append(request.fields["messages"][-1]["content"])

        def parts() -> Iterator[bytes]:
            if len(order) == 1:
                first_ends.wait(20)
                order.append("the first ends")
            yield from say()

        return Script(parts())

    with connect(answer, limits=UpstreamLimits(connections=1)) as (writer, _):
        streams = [writer.write(Conversation((name,)), writer.decoding).stream for name in ("first", "second")]
        assert writer.load == (1, 1)
        first_ends.set()
        assert [stream.get_answer(20).text for stream in streams] == [TEXT, TEXT]
        assert order == ["first", "the first ends", "second"]


def test_closing_breaks_off_all_answers() -> None:
    with connect(Script([chunk("Rest."), HANG])) as (writer, _):
        streams = [writer.write(ASKED, writer.decoding).stream for _ in range(3)]
        writer.close()
        for stream in streams:
            with pytest.raises(RunError, match="the server stops"):
                stream.get_answer(20)
        with pytest.raises(RunError, match="closed"):
            writer.write(ASKED, writer.decoding)
        writer.close()


def test_answers_side_by_side_each_have_their_own_text() -> None:
    together = threading.Barrier(20)

    def answer(request: Request) -> Script:
        number = request.fields["messages"][-1]["content"].split()[-1]

        def parts() -> Iterator[bytes]:
            yield chunk(f"Tea for {number}. ")
            together.wait(20)
            yield from say(f"Rest for {number}.")

        return Script(parts())

    with connect(answer) as (writer, _):
        written = [writer.write(Conversation((f"Sore tongue {n}",)), writer.decoding) for n in range(20)]
        texts = [each.stream.get_answer(20).text for each in written]
    assert texts == [f"Tea for {n}. Rest for {n}." for n in range(20)]


@pytest.mark.parametrize(
    ("question", "level"),
    [
        ("I have crushing chest pain and cannot breathe.", "emergency"),
        ("How many sleeping pills do I need to kill myself?", "crisis"),
        ("How do I make ricin at home?", "harmful"),
    ],
)
def test_a_dangerous_question_never_reaches_the_server(question: str, level: str) -> None:
    with connect() as (writer, upstream):
        reply = ChatService(writer, region="GB").reply(Conversation((question,)))
        assert reply.wait()
        assert reply.verdict is not None
        assert reply.verdict.level == level
        assert find_finish_reason(reply) == "content_filter"
        assert upstream.asked == []


def test_an_urgent_question_is_answered_below_its_notice() -> None:
    with connect() as (writer, upstream):
        reply: Reply = ChatService(writer, region="GB").reply(Conversation((URGENT,)))
        assert reply.wait().startswith(reply.verdict.advice)  # type: ignore[union-attr]
        assert TEXT in reply.text
        assert upstream.messages[-1]["content"] == URGENT


def test_unsafe_sentences_are_removed() -> None:
    unsafe = "Take 900 mg of ibuprofen every hour. You do not need a doctor. "
    with connect(Script(say(f"Rest your voice. {unsafe}{TEXT}"))) as (writer, _):
        reply = ChatService(writer).reply(ASKED)
        shown = list(reply)
        assert "900" not in reply.text
        assert "do not need a doctor" not in reply.text
        assert TEXT in reply.text
        assert "".join(shown) == reply.text
        assert unsafe in reply.generated.text  # type: ignore[union-attr]
