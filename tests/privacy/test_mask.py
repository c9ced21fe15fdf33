"""Private data: found in many surface forms, never in a dose, a date or a laboratory value."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_med.privacy.common_words import is_ordinary
from lightning_med.privacy.mask import KINDS, SUSPECT, find_private, mask
from lightning_med.privacy.prefilter import NOT_FIRST

# Each text, the kind it holds, and the words that must be found, whole.
HELD = [
    # e-mail addresses
    ("mail me: a_b-c+d@sub.mail.co.uk.", "EMAIL", "a_b-c+d@sub.mail.co.uk"),
    ("john at gmail dot com please", "EMAIL", "john at gmail dot com"),
    ("john dot smith at hotmail dot co dot uk", "EMAIL", "john dot smith at hotmail dot co dot uk"),
    ("reach name(at)x.com today", "EMAIL", "name(at)x.com"),
    ("write to name [at] clinic [dot] org", "EMAIL", "name [at] clinic [dot] org"),
    ("it is name @ gmail.com", "EMAIL", "name @ gmail.com"),
    ("JOHN@YAHOO.COM", "EMAIL", "JOHN@YAHOO.COM"),
    ("raj@yahoo .com", "EMAIL", "raj@yahoo .com"),
    ("email:me@x.io,please", "EMAIL", "me@x.io"),
    ("me@gmail.comThanks", "EMAIL", "me@gmail.com"),
    ("name@hotmail", "EMAIL", "name@hotmail"),
    # links
    ("see https://www.example.com/a?b=c#d.", "URL", "https://www.example.com/a?b=c#d"),
    ("(http://x.com/a_(b))", "URL", "http://x.com/a_(b)"),
    ("www.example.com/x, then", "URL", "www.example.com/x"),
    ("visit example.com for", "URL", "example.com"),
    ("go to bit.ly/abc", "URL", "bit.ly/abc"),
    ("site clinic.co.in ok", "URL", "clinic.co.in"),
    ("on nhs.uk", "URL", "nhs.uk"),
    ("HTTP://A.COM", "URL", "HTTP://A.COM"),
    ("drjohn.info please", "URL", "drjohn.info"),
    # telephones
    ("+44 7700 900123", "PHONE", "+44 7700 900123"),
    ("+44(0)20 7946 0958", "PHONE", "+44(0)20 7946 0958"),
    ("+1 (206) 555-0142", "PHONE", "+1 (206) 555-0142"),
    ("0091 98765 43210", "PHONE", "0091 98765 43210"),
    ("+91-98765-43210", "PHONE", "+91-98765-43210"),
    ("+49 30 901820", "PHONE", "+49 30 901820"),
    ("at (206) 555-0142.", "PHONE", "(206) 555-0142"),
    ("(206)555-0142", "PHONE", "(206)555-0142"),
    ("206-555-0142", "PHONE", "206-555-0142"),
    ("206.555.0142", "PHONE", "206.555.0142"),
    ("206 555 0142", "PHONE", "206 555 0142"),
    ("2065550142", "PHONE", "2065550142"),
    ("1-800-555-1234", "PHONE", "1-800-555-1234"),
    ("206-555-0142 ext 12", "PHONE", "206-555-0142 ext 12"),
    ("206-555-0142 x12", "PHONE", "206-555-0142 x12"),
    ("9876543210", "PHONE", "9876543210"),
    ("98765 43210", "PHONE", "98765 43210"),
    ("022-26543210", "PHONE", "022-26543210"),
    ("020 7946 0958", "PHONE", "020 7946 0958"),
    ("07911123456", "PHONE", "07911123456"),
    ("02 9374 4000", "PHONE", "02 9374 4000"),
    ("0412 345 678", "PHONE", "0412 345 678"),
    ("call 555-1234", "PHONE", "555-1234"),
    ("reach me at 5551234", "PHONE", "5551234"),
    ("send the values to 206-555-0142", "PHONE", "206-555-0142"),
    ("sugar is high, call 98765 43210", "PHONE", "98765 43210"),
    ("my number is 5551234", "PHONE", "5551234"),
    ("whatsapp 03001234567", "PHONE", "03001234567"),
    ("Ph-9876543210", "PHONE", "9876543210"),
    ("my phone is 943 476 5919", "PHONE", "943 476 5919"),
    # cards
    ("4111 1111 1111 1111", "CARD", "4111 1111 1111 1111"),
    ("card: 4111-1111-1111-1111,", "CARD", "4111-1111-1111-1111"),
    ("5555555555554444", "CARD", "5555555555554444"),
    ("3782 822463 10005", "CARD", "3782 822463 10005"),
    # identity numbers
    ("078-05-1121", "NATIONAL_ID", "078-05-1121"),
    ("ssn 123456789", "NATIONAL_ID", "123456789"),
    ("my social security number is 123-45-6789", "NATIONAL_ID", "123-45-6789"),
    ("943 476 5919", "NATIONAL_ID", "943 476 5919"),
    ("NHS number 9434765919", "NATIONAL_ID", "9434765919"),
    ("AB123456C", "NATIONAL_ID", "AB123456C"),
    ("JG 10 37 59 A", "NATIONAL_ID", "JG 10 37 59 A"),
    ("2341 2341 2346", "NATIONAL_ID", "2341 2341 2346"),
    ("Aadhar no. 1234 5678 9012", "NATIONAL_ID", "1234 5678 9012"),
    # addresses
    ("12 Green Park Road, London SW1A 1AA", "ADDRESS", "12 Green Park Road, London SW1A 1AA"),
    ("221B Baker Street", "ADDRESS", "221B Baker Street"),
    ("45 5th Avenue, Apt 3B, New York, NY 10001", "ADDRESS", "45 5th Avenue, Apt 3B, New York, NY 10001"),
    ("10 Elm Dr, Austin, TX 78701", "ADDRESS", "10 Elm Dr, Austin, TX 78701"),
    ("P.O. Box 55, Springfield", "ADDRESS", "P.O. Box 55, Springfield"),
    ("I live at 12 main street", "ADDRESS", "12 main street"),
    ("my address is 14 lake view, pune 411001.", "ADDRESS", "14 lake view, pune 411001"),
    ("postcode SW1A 1AA", "ADDRESS", "SW1A 1AA"),
    ("zip code 90210", "ADDRESS", "90210"),
    # names in greetings
    ("Dear Mrs Smith, I have", "NAME", "Smith"),
    ("Dear José García,", "NAME", "José García"),
    ("Dear Ms Anne-Marie Smith", "NAME", "Anne-Marie Smith"),
    ("Dear Prof. Brown,", "NAME", "Brown"),
    ("dear mrs smith i have", "NAME", "smith"),
    ("dear john, my", "NAME", "john"),
    ("Hi Dr. John, I", "NAME", "John"),
    ("Hi Sarah Jane, I", "NAME", "Sarah Jane"),
    ("Hi, Amit. I am", "NAME", "Amit"),
    ("hi john i have", "NAME", "john"),
    ("Hello Mary I have", "NAME", "Mary"),
    ("Hey Tom!", "NAME", "Tom"),
    ("Good morning Dr Khan,", "NAME", "Khan"),
    ("Hello Dr. Nguyen,", "NAME", "Nguyen"),
    # names in signatures
    ("It helps. Regards, Dr. Müller", "NAME", "Müller"),
    ("Regards, Dr John Smith", "NAME", "John Smith"),
    ("Warm regards\nDr. A. K. Gupta, MD", "NAME", "A. K. Gupta"),
    ("Sincerely,\nR. Patel", "NAME", "R. Patel"),
    ("Yours sincerely, Jane Doe", "NAME", "Jane Doe"),
    ("regards dr smith", "NAME", "smith"),
    ("kind regards\npriya", "NAME", "priya"),
    ("It helps. - Dr Patel", "NAME", "Patel"),
    ("bye. Thanks, Sarah", "NAME", "Sarah"),
    ("thx, mike", "NAME", "mike"),
    ("Thank you for your help. Sarah", "NAME", "Sarah"),
    ("Thank you, Betty B.", "NAME", "Betty B"),
    ("Best wishes, Tom", "NAME", "Tom"),
    ("RegardsManoj", "NAME", "Manoj"),
    # names elsewhere
    ("my name is john and i", "NAME", "john"),
    ("my name is juliaI have", "NAME", "julia"),
    ("my name's Tom", "NAME", "Tom"),
    ("Name: Ravi Kumar", "NAME", "Ravi Kumar"),
    ("I am Dr. Smith and", "NAME", "Smith"),
    ("this is Dr Patel here", "NAME", "Patel"),
    ("i'm sarah, 25", "NAME", "sarah"),
    ("My father's name is Mohammed Gowda.", "NAME", "Mohammed Gowda"),
    ("I am Rebecca in Ohio", "NAME", "Rebecca"),
    ("I am Ayodele Abdallah, your doctor", "NAME", "Ayodele Abdallah"),
    ("I am Zuri from Leeds", "NAME", "Zuri"),
    ("My wife Kavita has", "NAME", "Kavita"),
    ("our 5 year old son Jay fell", "NAME", "Jay"),
    ("It hurts. Best, Agnieszka Aziz", "NAME", "Agnieszka Aziz"),
    ("No fainting. Thank you, Isla Moreno, MD", "NAME", "Isla Moreno"),
    ("My social is 670518591.", "NATIONAL_ID", "670518591"),
    ("saw Dr Patel yesterday", "NAME", "Patel"),
    ("Mrs. O'Brien said", "NAME", "O'Brien"),
]

FREE = """take 500 mg twice|BP 120/80 mmHg|platelets 150000-450000 /cmm|WBC 4000-11000|1.5 lakh|2,50,000|5000 IU
12/05/2013 10:30|2013-05-12|15-08-2012|15-08-2012 16-09-2012|on 21 01 2010|in 2010-2011-2012|10 10 2012 11 11 2012
120 130 140 110 98 76|60000 units|70000-90000|250 350 4000|glucose 98 110 145 180 210|ICD E11.9 F32.1|1:1000
10-15-20 days|cycle 28 30 31 29|weight 150 160 170 180|platelets 92345-81234|hCG was 612 845 1400|WBC 4500 5500 6500 7230
hcg 2345 6789 1238|hcg 2065550142 mIU|contact lens 2345678|ring finger 1234567|I reach 5000 6000 steps|40 Lipitor Per My Dr
vitamin b12 206 555 0142|I am Type Diabetic.|I am Indian from Delhi|my mother May I ask|my son Will has fever
my husband Viagra|which of them is best, Crocin|I like the social is 4 times|the medicine's name is Lantus|I am On Thyronorm, and|platelet count is 250000|count 4500000|viral load 1200000 copies
HCG 1500-2000|FSH 7.5 LH 5.3|TSH 0.5-5.0 (4.5)|1000000 sperm per ml|100-110-120|0.5 0.25 0.75 1.25|1234567 IU
call 911|pain.In the|doctor.me|e.g. this|word.Next|etc.in|luck.in case|B12 1MG|call 2 doctors|my email address is hidden
2 miles down the road|10 mg dr|5 st tall|I live at 5000 feet|3 hour road trip|L4 L5 S1
Dear doctor, I|Dear Sir/Madam,|Dear patient,|Dear friend,|Dear user,|Dear customer,|Dear all,|Hello there, I|Hi doc,
Hi I have|Hello My son|Hi Chat Doctor|Hi Dr, I have|Hi, Metronidazole is|Hello, Progesterone, a hormone
Hello, Sinus infection|Thanks for your question|Thanks in advance|Thanks a lot|Thank you doctor.
Regards, General physician
Regards, Dermatologist|Take care|Take care. Hope I have answered
Regards.|Thanks and regards.|Best wishes for recovery|Regards to inability
Dr. Scholl insoles|Parkinson's disease|Bell's palsy|Graves disease|Dr. I have pain|the MS is worse|MR Angiogram
miss your period|I am Diabetic.|I am Indian.|I am HIV positive|This is Normal.|Take care. Don't forget
Thanks for using Chat Doctor White spots|[NAME] called [PHONE]|Dear [NAME], see [URL]""".replace("\n", "|").split("|")

ANSWERS = [
    ("Hello Mrs Smith, thank you for asking", "Hello, thank you for asking"),
    ("Dear Mrs Smith, I understand", "I understand"),
    ("dear mrs smith, i understand", "i understand"),
    ("Dear Mrs Smith, thank you", "Thank you"),
    ("Hi, Amit. I think so", "Hi. I think so"),
    ("Hello Rakesh. I'm sorry", "Hello. I'm sorry"),
    ("Hi Sarah Jane,\nI read it", "Hi,\nI read it"),
    ("Hello dear Sarah, welcome", "Hello, welcome"),
    ("Good morning John, take rest", "Good morning, take rest"),
    ("I agree. Hope this helps. Regards, Dr John Smith", "I agree. Hope this helps."),
    ("Rest well. Regards, Dr. Smith, MBBS, MD (Cardiology)", "Rest well."),
    ("Fine.\nThanks and warm regards\nDr. A. K. Gupta, MD", "Fine."),
    ("Hope it helps. - Dr Patel", "Hope it helps."),
    ("Take rest. Thanks, Sarah. Drink water.", "Take rest. Drink water."),
    ("I am Dr. Smith and I have gone through it", "I have gone through it"),
    ("This is Dr Patel here", "This is Dr [NAME] here"),
    ("Dear John", ""),
    ("Take rest. Regards.", "Take rest. Regards."),
]


@pytest.mark.parametrize("front", ["", "I have pain. "])
@pytest.mark.parametrize(("text", "kind", "held"), HELD, ids=[text for text, *_ in HELD])
def test_private_data_is_found_whole(text: str, kind: str, held: str, front: str) -> None:
    found = find_private(front + text)
    assert [(one.kind, (front + text)[one.start : one.end]) for one in found] == [(kind, held)]
    assert suspected(front + text)
    assert mask(front + text)[1] == Counter({kind: 1})


@pytest.mark.parametrize("text", FREE, ids=FREE)
def test_medicine_is_left_alone(text: str) -> None:
    assert find_private(text) == []
    assert mask(text)[0] is text
    assert mask(text, answer=True)[0] is text


@pytest.mark.parametrize(("text", "left"), ANSWERS, ids=[text for text, _ in ANSWERS])
def test_greetings_and_signatures_leave_an_answer(text: str, left: str) -> None:
    assert mask(text, answer=True) == (left, mask(text)[1])


def test_a_question_keeps_its_form() -> None:
    text, counts = mask("Dear Mrs Smith, call 206-555-0142 or mail a@b.com. Thanks, Sarah")
    assert text == "Dear Mrs [NAME], call [PHONE] or mail [EMAIL]. Thanks, [NAME]"
    assert counts == {"NAME": 2, "PHONE": 1, "EMAIL": 1}


@pytest.mark.parametrize("piece", ["1", "1-", "a@", "dear ", "Dear Ann ", "(", "a.", "at ", "4111 ", "http://", "Hi "])
def test_a_cell_of_a_million_signs_ends(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    mask(text)
    mask(text, answer=True)


def test_the_import_waits_for_no_library() -> None:
    heavy = ("phonenumbers", "stdnum", "torch", "pandas")
    code = f"import sys, lightning_med.privacy.mask; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_words_the_filter_stops_at_are_no_names() -> None:
    assert [word for word in NOT_FIRST.split() if not is_ordinary(word)] == []


PIECES = (
    [text for text, *_ in HELD]
    + FREE
    + [
        "\n",
        ". ",
        ", ",
        " - ",
        "Dear ",
        "regards ",
        "Hi ",
        "call ",
        "12 ",
        "é",
        "Ĳ",
        "İ",
        "\x00",
        "\u2003",
        "\xa0",
        "[",
    ]
)
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=6).map(" ".join) | st.lists(
    st.sampled_from(PIECES), max_size=5
).map("".join)


def suspected(text: str) -> bool:
    return bool(pc.match_substring_regex(pa.array([text]), SUSPECT)[0].as_py())


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.booleans())
def test_masking_twice_changes_nothing(text: str, answer: bool) -> None:
    once, _ = mask(text, answer)
    assert mask(once, answer) == (once, Counter())


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_finds_are_in_order_and_apart(text: str) -> None:
    end = 0
    for one in find_private(text):
        assert end <= one.start < one.end <= len(text)
        assert one.kind in KINDS
        end = one.end


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_the_filter_passes_on_all_that_is_found(text: str) -> None:
    assert suspected(text) or find_private(text) == []


WORDS = st.lists(
    st.sampled_from(["the", "pain", "began", "after", "we", "gave", "him", "food", "and", "then", "rest", "daily"]),
    min_size=1,
    max_size=6,
)
NUMBERS = st.integers(0, 99_999)
VALUES = st.one_of(
    st.builds("{} mg".format, NUMBERS),
    st.builds("{}/{} mmHg".format, NUMBERS, NUMBERS),
    st.builds("{} years".format, NUMBERS),
    st.builds("{}-{} IU".format, NUMBERS, NUMBERS),
    st.builds("{}-{} /cmm".format, st.integers(1000, 999_999), st.integers(1000, 999_999)),
    st.builds("{:02}/{:02}/{}".format, st.integers(1, 31), st.integers(1, 12), st.integers(1950, 2030)),
    st.builds("{:02}-{:02}-{}".format, st.integers(1, 31), st.integers(1, 12), st.integers(1950, 2030)),
    st.lists(st.integers(10, 400), min_size=4, max_size=8).map(lambda values: " ".join(map(str, values))),
    st.builds("{:.2f}".format, st.floats(0, 1e6)),
)


@settings(max_examples=500, deadline=None)
@given(WORDS, VALUES, WORDS)
def test_values_in_a_sentence_are_untouched(before: list[str], value: str, after: list[str]) -> None:
    text = " ".join([*before, value, *after])
    assert find_private(text) == []
