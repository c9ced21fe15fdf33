"""The page, put into an app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import gradio as gr
from fastapi import FastAPI

from lightning_med.serving.server.marks import Marks
from lightning_med.serving.server.page.answering import Answerer, View
from lightning_med.serving.server.page.layout import Layout, build_layout
from lightning_med.serving.server.page.settings import PageSettings
from lightning_med.serving.server.page.style import CSS, make_theme
from lightning_med.serving.server.page.talk import Talk

_SILENT: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}

_MAX_EVENTS = 1024  # at once; answers are limited by the capacity


def mount_page(app: FastAPI, settings: PageSettings) -> FastAPI:
    """Mounts the page at `/`; routes that are added to the app later are never reached.

    Args:
        app: With all its routes. `page_security.add_security` must protect it, too: without it, routes of Gradio that
            read files and fetch addresses are open.
        settings: Of the page.

    Returns:
        The app.
    """
    blocks = _build_page(settings)
    return gr.mount_gradio_app(
        app, blocks, "/", footer_links=[], run_history=False, ssr_mode=False, pwa=False, mcp_server=False,
        enable_monitoring=False, show_error=False, theme=make_theme(), css_paths=[CSS],
    )  # fmt: skip


def _build_page(settings: PageSettings) -> gr.Blocks:
    answerer = Answerer(settings)
    with gr.Blocks(title=f"{settings.model}: health questions", analytics_enabled=False) as blocks:
        layout = build_layout(settings)
        _connect_questions(layout, answerer)
        _connect_end(layout, answerer)
        if settings.marks is not None:
            store = {**_SILENT, "trigger_mode": "multiple", "concurrency_limit": 1}  # each click counts, in their order
            layout.chat.like(_make_marker(settings.marks, settings.model), layout.talk, None, **store)

        def leave(request: gr.Request) -> None:
            answerer.stop(_get_tab(request), is_dropped=True)

        blocks.unload(leave)
    blocks.max_threads = _MAX_EVENTS  # of Gradio's queue: beyond it, even "Stop" would wait for an answer's end
    blocks.queue(api_open=False, max_size=_MAX_EVENTS)
    return blocks


def _connect_questions(layout: Layout, answerer: Answerer) -> None:
    async def ask(text: str, talk: Talk, request: gr.Request) -> AsyncGenerator[Any, None]:
        async with aclosing(answerer.answer(_get_tab(request), str(text or ""), talk)) as views:
            shown = talk if talk.turns else None  # a page that is older than the server may still show an alarm
            async for view in views:
                yield layout.update(view, shown)
                shown = view.talk or shown

    async def ask_again(talk: Talk, request: gr.Request) -> AsyncGenerator[Any, None]:
        if talk.turns:
            before = replace(talk, turns=talk.turns[:-1])
            async with aclosing(ask(talk.turns[-1].question, before, request)) as changes:
                async for change in changes:
                    yield change

    send = [layout.box.submit, layout.send.click]
    gr.on(send, ask, [layout.box, layout.talk], layout.outputs, **_SILENT)
    for example in layout.examples:
        example.click(ask, [example, layout.talk], layout.outputs, **_SILENT)
    # Its button also lets the keyboard reach the chat, which scrolls.
    layout.chat.retry(ask_again, layout.talk, layout.outputs, **_SILENT)


def _connect_end(layout: Layout, answerer: Answerer) -> None:
    async def stop(request: gr.Request) -> None:
        answerer.stop(_get_tab(request))

    async def clear(request: gr.Request) -> Any:
        await answerer.drop(_get_tab(request))
        return layout.update(View(Talk(), note="", box="", is_writing=False), None)

    layout.stop.click(stop, None, None, **_SILENT)
    gr.on([layout.clear.click, layout.chat.clear], clear, None, layout.outputs, **_SILENT)


def _make_marker(marks: Marks, model: str) -> Callable[..., Any]:
    """What stores a thumb. The texts are those that the server holds, not those that the browser sends."""

    async def mark(talk: Talk, data: gr.LikeData) -> None:
        if not isinstance(data.index, int) or not 0 <= data.index < 2 * len(talk.turns):
            return
        turn = talk.turns[data.index // 2]
        if turn.remembered is None:  # a failure, which says nothing of the model
            return
        if data.liked == "":
            await asyncio.to_thread(marks.withdraw, turn.key)
        else:
            await asyncio.to_thread(marks.mark, turn.key, turn.question, turn.shown, model, data.liked is True)

    return mark


def _get_tab(request: gr.Request) -> str:
    return str(request.session_hash or "")
