"""Each cleaning rule repairs what it is for, and nothing else; above all no number."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.data.cleaning.cleaning_rules import RULES
from lightning_med.data.cleaning.dropped_rows import is_blank, is_cut, is_too_short
from lightning_med.data.cleaning.rule import find_matching, repair_column

REPAIRS = {rule.name: rule for rule in RULES if rule.effect == "repairs"}
PIECES = {  # pieces of texts that resemble what a rule repairs
    "html": "< > / b p br td sup sub a & ; &lt; &gt; &amp; amp; lt; &nbsp; &#39; &#53; &foo; <b> </b> <sup> </sup> <br/> <link>"
    " <td> href= ' \" 5 x \x0b \xa0 ſ K",
    "mojibake": "â€™ â€“ Ã© Â ½ ° é ’ µ don t 5 \x92 \xad Ã हि م 😀 Ãƒ",
    "invisible": "\u200b \u200c \u200d \u200e \u202a \u2066 \u2060 \ufeff \u00ad a 5 é क ् 👩 👧",
    "advertising": "-> --> → <link> [URL] http://x www.x Take care . ? online consult and revert 5 \n \xa0 x : ALT",
    "chat_doctor": "Chat Doctor|Chat |Doctor|welcome |to |thanks |for asking |for using |on |I am |I'm |and |you |will |regards|"
    "take care|.|,|!|\n| |com| forum|The |5|health |this is |helping ",
    "apostrophes": "don|can|it|i|I|you|we|He|CAN| t| T| s| m| ve| ll| re| RE| wave|-| | ſ|é|.|'|(|5|\xa0|\n",
    "glued_sentences": "pain . ? ! , ; : ... I Take B Sc ) ] \" ' www. @ / .com 5 é É \n a",
    "whitespace": " |\t|\n|\r|\x0b|\x0c|\x1c|\x1f|\x85|\xa0|\u1680|\u2003|\u2028|\u202f|\u3000|a|b.|é",
}
DOSES = (
    "500mg", "500 mg", "2.5 ml", "1/2", "1½", "140/90 mmHg", "37.5°C", "10^9", "x10³", "4.5x10^9/L", "3-5 days", "34 years",
    "65yrs", "1,200 IU", "<5 mg", "> 38.5", "p < 0.05", "HbA1c 6.8%", "T4 12.3", "B12", "1-0-1", "µg 25", "2:30", "98.6 F",
    "0.025%", "G2P1", "+91", "1.5.2019", "10–20", "1 2 3",
)  # fmt: skip
DIRT = (
    "donâ€™t", "Ã©", "Âµ", "<b>bold</b>", "<br>", "<td>", "</td>", "</td><td>", "&nbsp;", "&lt;", "&amp;", "wo\u200brd", "\u200b",
    "can t", "it s", "i ve", "we re", "Chat Doctor", "welcome to Chat Doctor", "I am Chat Doctor and", "Regards, Chat Doctor.",
    "thanks for asking on Chat Doctor forum.", "pain.Take", "\t", "\n\n", "revert back after", "consult a doctor online",
    "--> <link>", "take rest", "and", "for", "The", "I", "every", "twice a day", "\xad", "a <b and", "c>", "-> www.x.org ",
)  # fmt: skip


def repair(name: str, text: str) -> str:
    """A text after a rule was applied to its column."""
    column, changed = repair_column(pd.Series([text]), REPAIRS[name])
    assert bool(changed[0]) == (column[0] != text)
    return str(column[0])


def repair_all(text: str) -> str:
    for name in REPAIRS:
        text = repair(name, text)
    return text


def texts(name: str) -> st.SearchStrategy[str]:
    pieces = PIECES[name].split("|" if "|" in PIECES[name] else " ")
    return st.one_of(
        st.lists(st.sampled_from([*pieces, " "]), max_size=14).map("".join),
        st.lists(st.sampled_from(pieces), max_size=8).map(" ".join),
        st.text(max_size=30),
    )


# ---------------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", REPAIRS)
def test_repairing_twice_changes_nothing_more(name: str) -> None:
    @given(st.lists(texts(name), max_size=12))
    def check(column: list[str]) -> None:
        for text in column:
            once = REPAIRS[name].repair(text)
            assert REPAIRS[name].repair(once) == once, text

    check()


@pytest.mark.parametrize("name", REPAIRS)
def test_prefilter_selects_every_text_that_the_repair_changes(name: str) -> None:
    @given(st.lists(texts(name), max_size=12))
    def check(column: list[str]) -> None:
        selected = find_matching(pd.Series(column, dtype=str), REPAIRS[name].prefilter)
        for text in (text for text, found in zip(column, selected, strict=True) if not found):
            assert REPAIRS[name].repair(text) == text

    check()


SENTENCES = st.lists(
    st.tuples(st.sampled_from(DOSES + DIRT), st.sampled_from([" ", " ", ". ", ".", ", ", "\n", "? "])), min_size=1, max_size=14
)  # fmt: skip


def numbers(text: str) -> list[str]:
    return re.findall(r"[0-9]+(?:[.,/:^-][0-9]+)*|[¹²³½¼¾]|<(?=[0-9 ]\d)|(?<!\S)>(?= \d)|[µ°%]", text)


@given(SENTENCES)
def test_no_rule_changes_a_number(pieces: list[tuple[str, str]]) -> None:
    text = "".join(piece + gap for piece, gap in pieces)
    for name in REPAIRS:
        after = repair(name, text)
        readable = (
            text.replace("Âµ", "µ") if name == "mojibake" else text.replace("&lt;", "<") if name == "html" else text
        )
        assert numbers(after) == numbers(readable.replace("\u200b", "")), name
        text = after


@given(st.lists(st.sampled_from([d for d in DOSES if "<" not in d and ">" not in d]), min_size=2, max_size=4))
def test_numbers_in_tags_and_cells_stay_apart(doses: list[str]) -> None:
    row = "".join(f"<td class='x'><b>{dose}</b></td>" for dose in doses)
    assert repair_all(f"<table><tr>{row}</tr></table>") == " ".join(doses)


@pytest.mark.parametrize("dose", DOSES)
def test_a_dose_is_clean(dose: str) -> None:
    text = f"Take {dose} twice, then rest."
    assert repair_all(text) == text


def test_empty_and_missing_texts_pass() -> None:
    for rule in REPAIRS.values():
        column, changed = repair_column(pd.Series(["", None, "Rest."], dtype=object), rule)
        assert column.tolist() == ["", None, "Rest."]
        assert not changed.any()
        assert repair_column(pd.Series([], dtype=object), rule)[0].empty


# ---------------------------------------------------------------------- one by one


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("pa\u200bin\ufeff and \u202afever\u202c", "pain and fever"),
        ("hyphen\xadated", "hyphenated"),
        ("2\xad3 times", "2-3 times"),
        ("do\u200dn't \u200c", "don't "),
        ("क\u094d\u200dष", None),
        ("می\u200cخواهم", None),
        ("👩\u200d👧 ❤\ufe0f", None),
    ],
)
def test_invisible(text: str, after: str | None) -> None:
    assert repair("invisible", text) == (text if after is None else after)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("I donâ€™t", "I don’t"),
        ("cafÃ© au lait", "café au lait"),
        ("25 Âµg at 37.5Â°C", "25 µg at 37.5°C"),
        ("5â€“10 days", "5–10 days"),
        ("â‰¥5", "≥5"),
        ("Ã\xadndice", "índice"),
    ],
)
def test_mojibake(text: str, after: str) -> None:
    assert repair("mojibake", text) == after


@pytest.mark.parametrize(
    "text",
    ["é", "naïve café", "25 µg", "½ tablet", "37.5 °C", "≥5", "×10³", "β-blocker", "पेट में दर्द", "ألم في البطن", "头痛", "😀 👩‍👧", "“so”…", "Ménière’s"],
)  # fmt: skip
def test_right_text_is_no_mojibake(text: str) -> None:
    assert repair("mojibake", text) == text


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("<p>Rest.</p><p>Drink.</p>", "\nRest.\n\nDrink.\n"),
        ("Rest.<br/>Drink.<BR >Sleep.", "Rest.\nDrink.\nSleep."),
        ("<b>Take</b> <a href='https://x.org' target=_blank>this</a>", "Take this"),
        ('<span style="color: red" class="x">red</span>', "red"),
        ("10<sup>9</sup>/L, 10<SUP> 12 </SUP>", "10^9/L, 10^12"),
        ("Ca<sup>2+</sup>, 1<sup>st</sup>, CO<sub>2</sub>, log10<sub>2</sub>", "Ca^2+, 1st, CO2, log10_2"),
        ("10<sup><b>9</b></sup>", "10^9"),
        ("<td>120</td><td>80</td>", " 120  80 "),
        ("&lt;5 mg &amp; rest&nbsp;&#39;now&#x27;", "<5 mg & rest\xa0'now'"),
        ("1&frac12; &deg;C", "1½ °C"),
        ("&amp;lt;b&amp;gt;bold&amp;lt;/b&amp;gt;", "bold"),
        ("&#xD800;&#0;", "\ufffd\ufffd"),
    ],
)
def test_html(text: str, after: str) -> None:
    assert repair("html", text) == after


@pytest.mark.parametrize(
    "text",
    ["<5 mg", "a<b", "a < b and c > d", "if a <b and c> d", "p < 0.05", "BP <a 90 > 60", "<link>", "--> <link>", "<pre-op 5>", "R&D;", "AT&T", "&notit;", "5 & 6;", "<script>"],
)  # fmt: skip
def test_not_html(text: str) -> None:
    assert repair("html", text) == text


def test_html_nested_without_end_is_left_alone() -> None:
    deep = "<b" * 50 + ">" * 50
    assert repair("html", deep) == deep


@pytest.mark.parametrize(
    "footer",
    [
        "For more information consult a neurologist online --> https://www.example.com/ask/neurologist",
        "For further doubts consult a sleep medicine physician online.---> <link>",
        "Revert back with the photos to a dermatologist online --> <link>.",
        "Please consult an ENT doctor online → www.example.com/ent",
        "Get back to us for further queries -> [URL]",
        "Kindly revert --> <link> Take care.",
        "For further queries consult online --><link> --> <link>",
        "Consult online --> <link>. For more details consult online --> <link>",
    ],
)
def test_advertising_goes(footer: str) -> None:
    assert repair("advertising", f"Take 2.5 ml for 10 days. {footer}") == "Take 2.5 ml for 10 days."


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("Rest. Take 5 mg and consult a doctor online --> <link>", "Rest. Take 5 mg."),
        ("Rest. Revert back after 10 days online --> <link>", "Rest. Revert back after 10 days online."),
        ("ALT fell 80 -> 40 → https://x.org/1", "ALT fell 80 -> 40."),
        ("Take paracetamol and rest --> <link>", "Take paracetamol and rest."),
        ("Rest?\n--> <link>", "Rest?"),
        ("--> <link>", ""),
        (f"Take{' warm water' * 40} and revert online --> <link>", f"Take{' warm water' * 40}."),
        (f"Take{' warm water' * 40} online --> <link>", f"Take{' warm water' * 40} online."),
    ],
)
def test_advice_before_a_link_stays(text: str, after: str) -> None:
    assert repair("advertising", text) == after


@pytest.mark.parametrize(
    "text",
    [
        "The report --> <link> shows a cyst. Rest.",
        "ALT 80 -> 40",
        "See <link>",
        "Consult a doctor online.",
        "A → B → C",
    ],
)
def test_no_footer(text: str) -> None:
    assert repair("advertising", text) == text


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("I don t know, i ve pain", "I don't know, i've pain"),
        ("It s bad. Can t sleep (won t)", "It's bad. Can't sleep (won't)"),
        ("i m 65, she s fine, we ll see, you re ok", "i'm 65, she's fine, we'll see, you're ok"),
        ("DON T, IT S, I VE", "DON'T, IT'S, I'VE"),
        ("don t.", "don't."),
    ],
)
def test_apostrophes(text: str, after: str) -> None:
    assert repair("apostrophes", text) == after


@pytest.mark.parametrize(
    "text",
    [
        "vitamin d", "vitamin t", "hepatitis c", "5 m", "type s", "I 5 m", "audit s", "unit s", "can T cells grow", "can t wave change",
        "Can T. gondii", "Stage I M", "we re-did it", "don\nt", "that t", "don té", "it ſ", "he d", "orbit s", "an m",
    ],
)  # fmt: skip
def test_no_lost_apostrophe(text: str) -> None:
    assert repair("apostrophes", text) == text


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("pain.Take rest", "pain. Take rest"),
        ("pain?I hope", "pain? I hope"),
        ("pain...Take!Rest,Please", "pain... Take! Rest, Please"),
        ("(bad).Take 5mg.Rest", "(bad). Take 5mg. Rest"),
        ("pain.Take " + "x" * 500 + " a@x.org", "pain. Take " + "x" * 500 + " a@x.org"),
    ],
)
def test_glued_sentences(text: str, after: str) -> None:
    assert repair("glued_sentences", text) == after


@pytest.mark.parametrize(
    "text",
    [
        "B.Sc", "M.Phil", "Ph.D", "Dr.Smith", "e.g.", "e.g.Take", "i.e.The", "www.Example.com", "john.Smith@x.org", "http://a.org/Pain.Take",
        "Example.Com", "3.Take", "vit.D", "p.Vivax", "of p.Vivax", "Node.JS", "pH:Normal", "x.Take@y.org", "pain. Take", "5.Rest", "U.S.A",
    ],
)  # fmt: skip
def test_not_glued(text: str) -> None:
    assert repair("glued_sentences", text) == text


@given(texts("whitespace"))
def test_whitespace(text: str) -> None:
    after = repair("whitespace", text)
    assert after.split() == text.split()
    assert after == after.strip()
    assert not re.search(r"  |\n\n|[^\S \n]", after)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("  I   cough. ", "I cough."),
        ("a\tb\u00a0c\u2003d", "a b c d"),
        ("a\r\nb\n\n\n c \rd", "a\nb\nc\nd"),
        (" \n\t ", ""),
    ],
)
def test_whitespace_between_words_and_lines(text: str, after: str) -> None:
    assert repair("whitespace", text) == after


def test_half_of_a_surrogate_pair_is_replaced() -> None:
    """A command line that is not UTF-8 and JSON cut inside an emoji hold such halves, which no tokenizer takes."""
    assert REPAIRS["whitespace"].repair("It hurts \udcff  here\ud83d") == "It hurts \ufffd here\ufffd"


# ---------------------------------------------------------------------- dropping


def frame(*answers: str, **columns: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"question": "What now?", "answer": list(answers), **columns})


@given(texts("whitespace"))
def test_blank_is_what_has_no_word(text: str) -> None:
    assert is_blank(frame(text)).tolist() == [not text.split()]
    assert is_blank(frame("Rest.").assign(question=text)).tolist() == [not text.split()]


def test_too_short_is_under_five_words() -> None:
    assert is_too_short(frame("Rest.", "Take it twice daily.", "Take it twice a day.")).tolist() == [True, True, False]
    assert is_too_short(frame("Yes.", "Yes.", turns=[1, 2])).tolist() == [True, False]


@pytest.mark.parametrize("text", ["Take the", "It may be due to ", "You CAN", "Rest and…", "so ...", "Take it ("])
def test_cut(text: str) -> None:
    assert is_cut(frame(text)).all()


@pytest.mark.parametrize(
    "text", ["Rest.", "Rest", "Take the pill", "vitamin A.", "in the hand!", "Sand", "for (five) days"]
)
def test_not_cut(text: str) -> None:
    assert not is_cut(frame(text)).any()
