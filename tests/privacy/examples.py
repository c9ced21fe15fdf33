"""Examples of private data, of medical text without any, and of answers with greetings and signatures."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from lightning_med.privacy.mask import SUSPECT

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


def suspected(text: str) -> bool:
    """Whether the prefilter lets a text through to the search."""
    return bool(pc.match_substring_regex(pa.array([text]), SUSPECT)[0].as_py())
