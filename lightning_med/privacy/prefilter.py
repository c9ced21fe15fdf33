"""One RE2 pattern for texts that may hold private data: what it does not match, `find` need not read.

RE2 knows no lookaround, and its speed lies in few states: no counted repetition of wide classes, and each list of words
once. So it asks less than `find` does, and passes on more.
"""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase

from lightning_med.privacy import emails_and_links, phone_and_id_numbers, postal_addresses
from lightning_med.privacy.common_words import read_given_names
from lightning_med.privacy.cue_search import OTHER, match_other_than
from lightning_med.privacy.greetings import HELLO, STRONG, WEAK
from lightning_med.privacy.person_names import KIN

# What mostly follows these cues: `SUSPECT` stops here, and what passes on less is faster. The commonest first.
NOT_FIRST = (
    "i for doctor this thanks my it chat welcome you and the if dear there thank in yes these sir your its as "
    "from im of so good dairy can friend patient such to regarding regards doc no all seems please by what "
    "with take do she have de that wish according at how iam after having he actually sorry user consult is "
    "since though rearward get ive any nothing are pain even about madam surgery try am doctors not many did "
    "does only when recently one appreciate parent sometimes treatment firstly unfortunately chronic instead "
    "they we on their skin usually noted based greetings looking read chest both doing today docs last why "
    "then but blood normal recurrent make iron thyroid ovarian headache either those considering taking over "
    "off yesterday iv again docter mam just would or perhaps understand a care u most very first"
)

_GAP = r"[ \t\xa0]"
_ENDS = r"\s*(?:[,.;:!?()&/\n–—-]|$)"
_TITLE = rf"(?i:mrs?|ms|miss|mx|mme|mister|dr|prof|professor|doctor|doc)(?:\.|{_GAP}){_GAP}*"
_GAPS = r"[\s\xa0,.:;!&~*–—-]+"
_SIGNED = rf"(?i:{STRONG}|{WEAK})"
_POLITE = rf"(?i:dear(?:est)?|{HELLO}|{STRONG}|{WEAK})"
_TITLED = r"(?i:mrs?|ms|mx|dr|prof)"
_CALLED = rf"(?i:call{_GAP}me|myself)"
_I_AM = rf"(?i:i{_GAP}am|i['’ ]?m|iam|this{_GAP}is|here{_GAP}is)"
_UPPER = match_other_than((word.capitalize() for word in NOT_FIRST.split()), ascii_uppercase)
_LOWER = match_other_than(NOT_FIRST.split()[:60], ascii_lowercase)
_GIVEN = "|".join(f"[{name[0].upper()}{name[0]}]{name[1:]}" for name in sorted(read_given_names()))
_WORD = f"[A-Za-z{OTHER}'’-]"
_CAPITAL = f"[A-Z{OTHER}][A-Za-z{OTHER}'’.-]*"
_STOPS = r"[\s\xa0.!,)~*;:–—-]*$"
_NAMES = (
    rf"(?:^|[^A-Za-z'’])(?:(?:(?:{_POLITE}|{_TITLED}|{_CALLED}){_GAPS}(?:{_TITLE})?|{_SIGNED}|(?i:mister|miss|professor|doctor){_GAP}+){_UPPER}"
    rf"|{_POLITE}{_GAPS}{_LOWER}{_WORD}*(?:{_GAP}+{_WORD}+)?{_ENDS}"
    rf"|(?:{_POLITE}|{_I_AM}|{_CALLED}){_GAPS}(?:{_TITLE}[A-Za-z{OTHER}]|[A-Z]\.)"
    rf"|(?:{_POLITE}|{_TITLED}|{_I_AM}|{_CALLED}|(?i:{KIN})){_GAPS}(?:{_GIVEN})(?:[^a-z]|$)"
    rf"|(?i:i{_GAP}am|i['’ ]?m|iam)\s+[A-Z][a-z]+{_GAP}(?:[A-Z]|(?:from|in){_GAP}+[A-Z])|[.!?\s][Bb]est,{_GAPS}[A-Z])"
    rf"|(?i:(?:my|his|her|(?:{KIN})(?:['’]?s)?|full|first|last|real)\s?name|name{_GAP}*[:=])"
    rf"|(?i:thank|thx)[^.!?,;\n–—-]*[.!?,;\n–—-][\s.!?,;–—-]*(?:{_CAPITAL}(?:{_GAP}+{_CAPITAL}){{0,3}}|{_WORD}+(?:{_GAP}+{_WORD}+)?){_STOPS}"
    rf"|(?:\n|(?:^|[^A-Za-z0-9])[–—-])\s*{_CAPITAL}(?:{_GAP}+{_CAPITAL}){{0,3}}{_STOPS}"
)

SUSPECT = "|".join((emails_and_links.SUSPECT, phone_and_id_numbers.SUSPECT, postal_addresses.SUSPECT, _NAMES))
