"""The guard on an answer that grows: joined, the pieces are what the guard makes of the whole."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_med.safety import guard, triage
from lightning_med.safety.answers.guard import DISCLAIMER, MEDICINE_HINT
from lightning_med.safety.answers.guarded_stream import GuardedStream
from lightning_med.safety.messages.advice import get_notice
from lightning_med.safety.messages.triage import Verdict

QUESTION = "My tongue is sore, what can I do?"
URGENT = "I have had blood in my urine for two weeks."

# Answers, each with what nobody may read of it.
ANSWERS = {
    "plain": (
        "Rest your voice and drink warm tea. A sore tongue heals within some days. See a doctor if it stays.",
        [],
    ),
    "one sentence without an end": ("Rest your voice and drink a lot of warm tea with honey", []),
    "too little": ("Drink tea.", ["Drink tea"]),
    "nothing": ("", []),
    "blanks": (" \n\n ", []),
    "dose": (
        "A sore tongue heals within some days. Take 500 mg of paracetamol every 6 hours. Drink warm tea and rest well.",
        ["500", "paracetamol"],
    ),
    "doses alone": ("Take 2 tablets of ibuprofen 400 mg. Then take amoxicillin 500 mg twice a day.", ["400", "amoxi"]),
    "dose first": ("Take ibuprofen 400 mg now. Rest your voice and drink a lot of warm tea with honey.", ["ibuprofen"]),
    "dose in pieces": (
        "Rest at home and drink plenty of water. Take 1.5 g of paracetamol. Sleep well at night.",
        ["1.5"],
    ),
    "dose over a line": (
        "Rest at home and drink plenty of water.\nAmoxicillin\n500 mg\nthree times a day.",
        ["500 mg"],
    ),
    "link": (
        "This is common and harmless in most people. Read www.example.com/tongue for more. It heals within a week.",
        ["www", "example.com"],
    ),
    "link last": ("This is common and harmless in most people. Read https://example.com/a.b?c=d", ["https", "example"]),
    "mail": (
        "This is common and harmless in most people. Write to jo.doe@example.com today. Rest well.",
        ["@", "jo.doe"],
    ),
    "phone": ("This is common and harmless in most people. Call me on +44 20 7946 0958 today.", ["7946"]),
    "name": (
        "Hello, I am Dr. John Smith and I have read your question. A sore tongue heals within days. Drink warm tea.",
        ["Smith"],
    ),
    "name at the end": (
        "A sore tongue heals within some days, so drink tea.\n\nBest wishes,\nDr. John Smith",
        ["Smith"],
    ),
    "thanks": ("Thank you for asking, dear Mary. A sore tongue heals within some days. Drink warm tea.", ["Mary"]),
    "diagnosis": (
        "Thanks for telling me about it. You have oral thrush. You definitely have cancer. A doctor can tell you more.",
        ["definitely have cancer"],
    ),
    "discouragement": (
        "A sore tongue heals within some days. There is no need to see a doctor. Drink warm tea and rest.",
        ["no need to see a doctor"],
    ),
    "second turn": (
        "A sore tongue heals within some days.\nPatient: Thank you!\nDoctor: You are welcome.",
        ["Patient:", "welcome"],
    ),
    "leading role": ("Doctor: A sore tongue heals within some days. Drink warm tea and rest your voice.", ["Doctor:"]),
    "placeholder": (
        "Dear [Patient Name], a sore tongue heals within days. Drink warm tea. Yours, [Your Name]",
        ["[Your"],
    ),
    "missing blank": ("A sore tongue heals within some days.Drink warm tea and rest.See a doctor if it stays.", []),
    "list": ("You can do this at home:\n1. Drink warm tea.\n2. Rest your voice.\n\n- Avoid spicy food.\n- Sleep.", []),
    "quotes": ("It’s called a “sore tongue” and it heals within days. Don’t worry about it too much.", []),
    "invisible": (
        "A sore tongue heals within some days. Take 5\u200b00 m\u200bg of para\u200bcetamol. Rest well.",
        ["cetamol"],
    ),
    "our words": (f"A sore tongue heals within some days. {MEDICINE_HINT} Drink warm tea. {DISCLAIMER} Rest.", []),
    "our hint on a line": (
        f"It heals within days.\n{MEDICINE_HINT} Drink warm tea and rest. I am Dr. John Smith.",
        ["Smith"],
    ),
    "spaces": ("  A sore   tongue heals  within some days.   Drink warm tea.\n\n\n  Rest your voice.  ", []),
    "exclamations": ("Oh no!!! Really?! A sore tongue heals within some days... Drink warm tea, e.g. with honey.", []),
    "decimals": ("A tongue is 7.5 cm long on average. It heals within 1.5 weeks. Ask a doctor if it stays.", []),
    "markup": ("**Rest** your voice, <b>drink</b> [bold]tea[/bold] and sleep. # It heals soon.", []),
    "abuse": ("You are stupid. A sore tongue heals within some days. Drink warm tea and rest your voice.", ["stupid"]),
    "credential": (
        "As a doctor with 20 years of experience I know this well. A sore tongue heals within some days. Drink tea.",
        ["experience"],
    ),
}


def stream(raw: str, cuts: list[int], question: str = QUESTION, verdict: Verdict | None = None) -> list[str]:
    """Returns the pieces of an answer that is seen first up to each cut, and then whole."""
    guarded = GuardedStream(question, verdict or triage(question, "GB"), "GB")
    pieces = [guarded.extend(raw[:cut]) for cut in sorted(cuts)]
    rest, whole = guarded.finish(raw)
    assert "".join(pieces) + rest == whole.answer
    return [*pieces, rest]


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("question", [QUESTION, URGENT])
def test_the_pieces_are_what_the_guard_makes_of_the_whole(name: str, question: str) -> None:
    raw, hidden = ANSWERS[name]
    text = "".join(stream(raw, list(range(len(raw) + 1)), question))
    assert text == guard(question, raw, "GB").answer
    assert not [words for words in hidden if words in text.replace(DISCLAIMER, "")]


@given(raw=st.sampled_from([raw for raw, _ in ANSWERS.values()]), data=st.data())
@settings(max_examples=200, deadline=None)
def test_it_does_not_matter_where_the_text_is_cut(raw: str, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=8))
    assert "".join(stream(raw, cuts)) == guard(QUESTION, raw, "GB").answer


_SENTENCES = sorted({sentence for raw, _ in ANSWERS.values() for sentence in raw.split(". ") if sentence.strip()})


@given(
    parts=st.lists(
        st.tuples(st.sampled_from(_SENTENCES), st.sampled_from([". ", " ", "\n", ".", "! ", "\n\n"])), max_size=8
    ),
    data=st.data(),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_answer_is_the_guarded_one_or_ends_with_the_fixed_text(
    parts: list[tuple[str, str]], data: st.DataObject
) -> None:
    raw = "".join(itertools.chain(*parts))
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=12))
    text, whole = "".join(stream(raw, cuts)), guard(QUESTION, raw, "GB").answer
    if text != whole:  # a later sentence changed what was out already
        assert text.endswith(f"\n\n{get_notice('safe_answer', 'GB')}\n\n{DISCLAIMER}")
