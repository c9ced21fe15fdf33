"""Messages of a program are taken apart, or refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.serving.conversation import ASSISTANT, MAX_LENGTH, SYSTEM, USER, Conversation, Message
from lightning_med.utils.errors import InputError

_MESSAGES = st.lists(
    st.builds(Message, st.sampled_from([USER, ASSISTANT, SYSTEM, "tool"]) | st.text(max_size=3), st.text(max_size=20)),
    max_size=8,
)
_KNOWN = st.lists(st.builds(Message, st.sampled_from([USER, ASSISTANT, SYSTEM]), st.text("ab \n\ud800", min_size=1)))


@given(_MESSAGES | _KNOWN)
def test_any_messages_make_alternating_turns_or_are_refused(messages: list[Message]) -> None:
    try:
        conversation = Conversation.from_messages(messages)
    except InputError:
        return
    assert len(conversation.questions) == len(conversation.answers) + 1
    assert all(conversation.questions)
    texts = [*conversation.questions, *conversation.answers, conversation.system]
    assert not [text for text in texts if text != text.strip() or "\n\n" in text]
    "".join(texts).encode()  # no half of a surrogate pair


def test_questions_and_answers_are_paired() -> None:
    messages = [Message(USER, "One?"), Message(ASSISTANT, "First."), Message(USER, "Two?")]
    assert Conversation.from_messages(messages) == Conversation(("One?", "Two?"), ("First.",))


def test_successive_messages_of_one_side_are_one() -> None:
    roles = [(USER, "a"), (SYSTEM, "s"), (USER, "b"), (ASSISTANT, "c"), (ASSISTANT, "d"), (SYSTEM, "t"), (USER, "e")]
    conversation = Conversation.from_messages([Message(role, text) for role, text in roles])
    assert conversation == Conversation(("a\nb", "e"), ("c\nd",), "s\nt")


def test_a_greeting_of_the_assistant_is_left_out() -> None:
    messages = [Message(ASSISTANT, "How can I help?"), Message(USER, "One?")]
    assert Conversation.from_messages(messages) == Conversation(("One?",))


def test_white_space_is_that_of_the_training_data() -> None:
    assert Conversation.from_messages([Message(USER, "  My\t tongue \r\n\r\n is sore ")]).questions == (
        "My tongue\nis sore",
    )


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "The last message must be the user's."),
        ([Message(SYSTEM, "Be kind.")], "The last message must be the user's."),
        ([Message(USER, "One?"), Message(ASSISTANT, "First.")], "The last message must be the user's."),
        ([Message("tool", "One?")], "messages[0]: the role 'tool' is unknown."),
        ([Message(USER, "One?"), Message(USER, " \n ")], "messages[1] is empty."),
        ([Message(USER, "x" * (MAX_LENGTH + 1))], "messages[0] has 20,001 characters; 20,000 are read."),
        ([Message(SYSTEM, "x" * 30_000), Message(USER, "One?")], "messages[0] has 30,000 characters; 20,000 are read."),
    ],
)
def test_what_is_no_conversation_is_refused(messages: list[Message], said: str) -> None:
    with pytest.raises(InputError) as raised:
        Conversation.from_messages(messages)
    assert raised.value.what == said
    assert raised.value.hint
