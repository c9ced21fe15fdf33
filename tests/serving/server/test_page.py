"""The page in a browser: answers that grow, what cannot be missed, and texts that stay texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

from lightning_med.safety.answers.guard import DISCLAIMER  # noqa: E402
from lightning_med.serving.conversation import MAX_LENGTH, Conversation  # noqa: E402
from lightning_med.serving.server.marks import Marks  # noqa: E402
from tests.serving.scripted_model import ANSWER  # noqa: E402
from tests.serving.server import page_fixtures as fixtures  # noqa: E402
from tests.serving.server.live_server import serve_app, wait_for  # noqa: E402
from tests.serving.server.page_fixtures import EXAMPLES, PLACES, WAIT, Seen, StepWriter, open_page  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.skipif(fixtures.BROWSER is None, reason="no Chromium")]
QUESTION = "My tongue is sore since two days."
FOLLOW_UP = "Thanks, and for how long should I do this?"
EMERGENCY = "crushing chest pain and my left arm is numb"
FIRST = "Rest your voice and drink warm tea."
EVIL = (
    "  <img src=x onerror=alert(1)> <b>bold</b> ![x](http://elsewhere.example/a.png) ${1+1} $$x$$ {{7*7}} don't &amp; "
    "<script>alert(2)</script> **strong** <details open ontoggle=alert(3)>  two  blanks"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=fixtures.BROWSER, args=["--no-sandbox"], timeout=60_000)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[StepWriter, str]]:
    writer = StepWriter()
    with serve_app(fixtures.make_app(writer)) as address:
        yield writer, address


@pytest.fixture
def writer(served: tuple[StepWriter, str]) -> Iterator[StepWriter]:
    served[0].reset()
    yield served[0]
    served[0].gate.set()
    served[0].begins.set()


@pytest.fixture
def seen(browser: Any, served: tuple[StepWriter, str], writer: StepWriter) -> Iterator[Seen]:
    with open_page(browser, served[1]) as page:
        yield page


@pytest.fixture(scope="module")
def echoing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Marks, str]]:
    """A server without safety whose model repeats the question, with thumbs."""
    marks = Marks(tmp_path_factory.mktemp("marks") / "marks.sqlite")

    def repeat(conversation: Conversation) -> str:
        return f"You wrote: {EVIL if 'img' in conversation.questions[-1] else conversation.questions[-1]}"

    with serve_app(fixtures.make_app(StepWriter(repeat), marks, safety=False)) as address:
        yield marks, address
    marks.close()


def expect(locator: Any) -> Any:
    playwright.expect.set_options(timeout=WAIT * 1000)
    return playwright.expect(locator)


def find_faults(page: Any) -> list[tuple[str, str, str]]:
    faults = axe.Axe().run(page).response["violations"]
    bad = [fault for fault in faults if fault["impact"] in ("serious", "critical")]
    return [(fault["id"], fault["impact"], fault["nodes"][0]["html"]) for fault in bad]


def test_an_answer_grows_and_a_second_question_waits_for_its_end(seen: Seen, writer: StepWriter) -> None:
    writer.gate.clear()
    seen.ask(QUESTION)
    expect(seen.bubble("bot")).to_have_text("Writing …")
    writer.gate.let(8)
    expect(seen.bubble("bot")).to_have_text(FIRST)
    expect(seen.page.locator("#send")).to_be_hidden()
    seen.page.locator("#stop").wait_for()
    writer.gate.set()
    expect(seen.bubble("bot")).to_have_text(f"{ANSWER}\n\n{DISCLAIMER}")
    expect(seen.page.locator("#send")).to_be_visible()
    expect(seen.page.locator("#stop")).to_be_hidden()
    expect(seen.page.locator("#question textarea")).to_have_value("")
    assert seen.page.locator("button[aria-label=Like]").count() == 0


def test_stop_keeps_the_text_and_the_next_question_sends_it_along(seen: Seen, writer: StepWriter) -> None:
    writer.gate.clear()
    seen.ask(QUESTION)
    writer.gate.let(8)
    expect(seen.bubble("bot")).to_have_text(FIRST)
    seen.page.click("#stop")
    expect(seen.bubble("bot")).to_have_text(f"{FIRST} [stopped]")
    expect(seen.page.locator("#send")).to_be_visible()
    assert writer.streams[0].is_cancelled
    writer.gate.set()
    seen.ask(FOLLOW_UP)
    expect(seen.bubble("bot")).to_contain_text(DISCLAIMER)
    assert seen.bubble("bot", 0).inner_text() == f"{FIRST} [stopped]"
    assert writer.asked[-1] == Conversation((QUESTION, FOLLOW_UP), (FIRST,))


def test_several_turns_go_to_the_model_without_our_texts_and_clear_forgets_them(seen: Seen, writer: StepWriter) -> None:
    seen.page.click(f"text={EXAMPLES[0]}")
    expect(seen.bubble("bot")).to_contain_text(DISCLAIMER)
    expect(seen.page.locator("#starters")).to_be_hidden()
    seen.ask(FOLLOW_UP)
    expect(seen.bubble("bot", 1)).to_contain_text(DISCLAIMER)
    assert writer.asked == [Conversation((EXAMPLES[0],)), Conversation((EXAMPLES[0], FOLLOW_UP), (ANSWER,))]
    writer.gate.clear()
    seen.ask(QUESTION)
    expect(seen.bubble("user", 2)).to_have_text(QUESTION)
    seen.page.click("#clear")  # while an answer is written
    expect(seen.page.locator("#chat [data-testid]:is([data-testid=user], [data-testid=bot])")).to_have_count(0)
    expect(seen.page.locator("#starters")).to_be_visible()
    writer.gate.set()
    seen.ask(QUESTION)
    expect(seen.bubble("bot")).to_contain_text(DISCLAIMER)
    expect(seen.bubble("user")).to_have_text(QUESTION)
    assert seen.page.locator("#chat [data-testid=user]").count() == 1
    assert writer.asked[-1] == Conversation((QUESTION,))


def test_an_emergency_shows_a_card_that_stays(seen: Seen, writer: StepWriter) -> None:
    alert = seen.page.locator("#alarm [role=alert]")
    assert alert.count() == 0
    seen.ask(EMERGENCY)
    expect(alert).to_contain_text("Please call 999 now")
    expect(seen.page.locator("#alarm h2")).to_have_text("This may be an emergency")
    expect(seen.bubble("bot")).to_contain_text("Please call 999 now")
    assert not writer.asked
    seen.ask(FOLLOW_UP)  # answered, but the danger has not passed
    expect(seen.bubble("bot", 1)).to_contain_text(DISCLAIMER)
    expect(alert).to_be_visible()
    seen.page.click("#clear")
    expect(alert).to_have_count(0)


def test_an_urgent_question_gets_a_notice_and_an_answer(seen: Seen) -> None:
    seen.ask(f"{QUESTION} <img src=x> ![x](http://elsewhere.example/a.png)")
    expect(seen.bubble("bot")).to_contain_text(DISCLAIMER)
    expect(seen.page.locator("#alarm .urgent[role=status]")).to_contain_text("today or tomorrow")
    seen.page.click("#clear")
    seen.ask(QUESTION)
    expect(seen.bubble("bot")).to_contain_text(DISCLAIMER)
    expect(seen.page.locator("#alarm .card")).to_have_count(0)


def test_nothing_that_a_person_or_a_model_writes_becomes_part_of_the_page(
    browser: Any, echoing: tuple[Marks, str]
) -> None:
    with open_page(browser, echoing[1]) as seen:
        seen.ask(EVIL)
        expect(seen.bubble("bot")).to_contain_text("SAFETY IS OFF")
        assert seen.bubble("user").evaluate("one => one.textContent").strip() == EVIL.strip()
        assert EVIL.strip() in seen.bubble("bot").evaluate("one => one.textContent")
        made = "#chat :is(img, b, strong, script, details, a, table, .katex, [onerror], [ontoggle])"
        assert seen.page.locator(made).count() == 0
        assert seen.page.locator("#heading i, #facts b b, #facts dd b").count() == 0
        assert not [url for url in seen.requests if "elsewhere" in url or url.endswith("/x")]


def test_thumbs_store_what_was_shown_without_private_data(browser: Any, echoing: tuple[Marks, str]) -> None:
    marks, address = echoing
    with open_page(browser, address) as seen:
        seen.ask("My name is John Smith, my address is john.smith@mail.example, and my tongue is sore.")
        expect(seen.bubble("bot")).to_contain_text("SAFETY IS OFF")
        seen.page.click("#chat button[aria-label=Like]")
        stored = wait_for(lambda: marks.list_marks())[0]
        assert stored.is_good
        assert stored.model == fixtures.MODEL
        assert "[EMAIL]" in stored.question
        assert "[EMAIL]" in stored.answer
        assert "Smith" not in stored.question + stored.answer
        seen.page.click("#chat button[aria-label=Dislike]")
        wait_for(lambda: [mark.key for mark in marks.list_marks() if not mark.is_good] == [stored.key])
        seen.page.click("#chat button[aria-label*=isliked]")  # once more: withdrawn
        wait_for(lambda: not marks.list_marks())


def test_questions_that_cannot_be_asked_stay_in_the_field(seen: Seen, writer: StepWriter) -> None:
    note, box = seen.page.locator("#note [role=alert]"), seen.page.locator("#question textarea")
    seen.page.click("#send")
    expect(note).to_contain_text("write a question")
    seen.ask("a" * (MAX_LENGTH + 1))
    expect(note).to_contain_text(f"{MAX_LENGTH + 1:,} characters")
    expect(box).to_have_value("a" * (MAX_LENGTH + 1))
    while writer.capacity.enter():
        pass
    seen.ask(QUESTION)
    expect(note).to_contain_text("Many people are waiting")
    expect(box).to_have_value(QUESTION)
    for _ in range(PLACES):
        writer.capacity.leave()
    writer.waiting = 2
    writer.begins.clear()
    seen.page.click("#send")
    expect(seen.bubble("bot")).to_have_text("Waiting: 1 before you")  # itself is one of the two
    expect(note).to_have_count(0)
    writer.begins.set()
    expect(seen.bubble("bot")).to_contain_text(DISCLAIMER)
    assert len(writer.asked) == 1


def test_a_failure_is_told_and_the_next_question_is_answered(seen: Seen, writer: StepWriter) -> None:
    writer.error = RuntimeError("<b>the accelerator is lost</b>")
    seen.ask(QUESTION)
    expect(seen.bubble("bot")).to_contain_text("The answer could not be finished. Please ask again.")
    writer.error = None
    seen.ask(FOLLOW_UP)
    expect(seen.bubble("bot", 1)).to_contain_text(DISCLAIMER)
    assert writer.asked[-1] == Conversation((FOLLOW_UP,))
    seen.page.click("#chat button[aria-label=Retry]")  # the last question once more
    wait_for(lambda: len(writer.asked) == 3)
    expect(seen.bubble("bot", 1)).to_contain_text(DISCLAIMER)
    assert writer.asked[-1] == Conversation((FOLLOW_UP,))
    assert seen.page.locator("#chat [data-testid=user]").count() == 2
    assert "Traceback" not in seen.page.content()


def test_a_closed_page_stops_the_model(browser: Any, served: tuple[StepWriter, str], writer: StepWriter) -> None:
    writer.gate.clear()
    with open_page(browser, served[1]) as seen:
        seen.ask(QUESTION)
        expect(seen.bubble("bot")).to_have_text("Writing …")
    wait_for(lambda: writer.streams[0].is_cancelled)


def test_many_people_ask_at_once_and_one_can_stop(
    browser: Any, served: tuple[StepWriter, str], writer: StepWriter
) -> None:
    writer.gate.clear()
    with open_page(browser, served[1]) as seen:
        for number in range(50):  # Gradio runs 40 events at once unless it is told otherwise
            question = {"fn_index": 0, "session_hash": f"person{number}", "data": [QUESTION, None]}
            answer = seen.page.request.post(f"{served[1]}/gradio_api/queue/join", data=question)
            assert answer.ok
        wait_for(lambda: len(writer.asked) == 50)
        seen.ask(QUESTION)
        wait_for(lambda: len(writer.asked) == 51)
        seen.page.click("#stop")
        expect(seen.bubble("bot")).to_have_text("[stopped]")
        writer.gate.set()


def test_the_keyboard_suffices(seen: Seen, writer: StepWriter) -> None:
    seen.page.focus("#question textarea")
    seen.page.keyboard.type("My tongue")
    seen.page.keyboard.press("Shift+Enter")
    seen.page.keyboard.type("is sore.")
    seen.page.keyboard.press("Tab")
    assert seen.page.evaluate("document.activeElement.id") == "send"
    assert seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    seen.page.keyboard.press("Enter")
    expect(seen.bubble("bot")).to_contain_text(DISCLAIMER)
    assert writer.asked[0].questions == ("My tongue\nis sore.",)


@pytest.mark.parametrize(("width", "scheme"), [(1920, "light"), (390, "dark")])
def test_axe_finds_no_fault_and_nothing_overflows(
    browser: Any, served: tuple[StepWriter, str], writer: StepWriter, width: int, scheme: str
) -> None:
    with open_page(browser, served[1], width, scheme) as seen:
        assert seen.page.evaluate("document.body.classList.contains('dark')") is (scheme == "dark")
        assert not find_faults(seen.page)
        seen.ask(QUESTION)
        expect(seen.bubble("bot")).to_contain_text(DISCLAIMER)
        assert not find_faults(seen.page)
        seen.ask(f"{EMERGENCY} {'x' * 300}")
        expect(seen.page.locator("#alarm [role=alert]")).to_be_visible()
        seen.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        expect(seen.page.locator("#alarm [role=alert] h2")).to_be_in_viewport(ratio=1)
        expect(seen.page.locator("#limits p")).to_be_in_viewport(ratio=1)
        assert not find_faults(seen.page)
        assert seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        expect(seen.page.locator("#facts dl")).to_contain_text("9.41")
