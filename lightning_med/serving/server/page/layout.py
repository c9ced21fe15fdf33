"""The parts of the page and what shows a change in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from lightning_med.serving.server.page import texts
from lightning_med.serving.server.page.answering import View
from lightning_med.serving.server.page.settings import PageSettings
from lightning_med.serving.server.page.talk import Talk


@dataclass(frozen=True)
class Layout:
    """The parts of the page that change.

    Attributes:
        talk: The conversation, on the server.
        alarm: The block above the chat.
        chat: The chat.
        starters: The row of example questions.
        examples: The buttons in it.
        note: Says why a question was not sent.
        box: The field for the question.
        send, stop, clear: The buttons.
    """

    talk: gr.State
    alarm: gr.Markdown
    chat: gr.Chatbot
    starters: gr.Column
    examples: list[gr.Button]
    note: gr.Markdown
    box: gr.Textbox
    send: gr.Button
    stop: gr.Button
    clear: gr.Button

    @property
    def outputs(self) -> list[gr.components.Component | gr.blocks.BlockContext]:
        """What `update` may change."""
        return [
            self.talk, self.alarm, self.chat, self.starters, self.note, self.box, self.send, self.stop
        ]  # fmt: skip

    def update(self, view: View, before: Talk | None) -> Any:
        """Returns the changes of a view for Gradio.

        Args:
            view: What changes.
            before: The conversation as it is shown, if that is certain. The alarm is sent again only if it changed:
                it would be read out at each word otherwise.
        """
        changes: dict[Any, Any] = {}
        if view.talk is not None:
            changes[self.talk] = view.talk
            changes[self.chat] = texts.show_messages(view.talk, view.status)
            changes[self.starters] = _show_if(not view.talk.turns)
            if before is None or view.talk.alarm != before.alarm:
                changes[self.alarm] = texts.make_card(view.talk.alarm)
        if view.note is not None:
            changes[self.note] = texts.make_note(view.note)
        if view.box is not None:
            changes[self.box] = view.box
        if view.is_writing is not None:
            changes[self.send] = _show_if(not view.is_writing)
            changes[self.stop] = _show_if(view.is_writing)
        return changes or gr.skip()


def build_layout(settings: PageSettings) -> Layout:
    """Adds the parts to the page that is being built."""
    talk = gr.State(Talk())
    _write(texts.make_heading(settings.model), "heading")
    with gr.Column(elem_id="top"):  # stays in view
        _write(texts.make_line(texts.DISCLAIMER, "limits"), "limits")
        alarm = _write("", "alarm")
    with gr.Row(elem_id="columns"):
        with gr.Column(scale=3, min_width=300):
            chat = _build_chat()
            with gr.Column(elem_id="starters", visible=bool(settings.examples)) as starters:
                _write(texts.make_line("For example:", "small-print"), "starters-title")
                with gr.Row(equal_height=True):
                    examples = [
                        gr.Button(text, elem_classes="starter", size="md", min_width=220) for text in settings.examples
                    ]
            note = _write("", "note")
            box = gr.Textbox(label="Your question", info=texts.HINT, lines=1, max_lines=8, elem_id="question")
            with gr.Row(elem_id="buttons"):
                send = gr.Button("Send", variant="primary", elem_id="send", scale=0, min_width=120)
                stop = gr.Button("Stop", variant="secondary", elem_id="stop", scale=0, min_width=120, visible="hidden")
                clear = gr.Button("Clear conversation", variant="secondary", elem_id="clear", scale=0, min_width=190)
            if settings.marks is not None:
                _write(texts.make_line(texts.MARKED, "small-print"), "marked")
        with gr.Column(scale=1, min_width=260, visible=bool(settings.facts)), gr.Accordion("About this model"):
            _write(texts.make_facts(settings.facts), "facts")
    return Layout(talk, alarm, chat, starters, examples, note, box, send, stop, clear)


def _build_chat() -> gr.Chatbot:
    """The chat, told not to read anything into a text; `texts.show_messages` escapes in spite of it."""
    return gr.Chatbot(
        label="Conversation",
        show_label=False,
        elem_id="chat",
        height="46vh",
        min_height=260,
        placeholder=texts.EMPTY,
        buttons=[],
        render_markdown=False,
        allow_tags=False,
        latex_delimiters=[],
    )


def _write(text: str, name: str) -> gr.Markdown:
    """Adds markup of ours. Not as `gr.HTML`: that one runs code that stands in a text.

    Always visible; the style sheet hides what is empty. Gradio loses changes of a part that is not, just after the
    page was opened, and one of these parts is the advice in an emergency.
    """
    return gr.Markdown(text, elem_id=name, latex_delimiters=[])


def _show_if(is_visible: bool) -> dict[str, Any]:
    """A change that shows or hides a part, which stays in the page; see `_write`."""
    return gr.update(visible=is_visible or "hidden")
