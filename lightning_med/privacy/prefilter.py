"""One RE2 pattern for texts that may hold private data of any kind; `find_private` finds none in other texts.

RE2 has no lookaround, and is fast only with few states: no counted repetition of wide classes, and each word list once.
So the pattern is looser than `find_private` and matches more texts.
"""

from __future__ import annotations

from collections.abc import Iterable
from string import ascii_letters, ascii_lowercase, ascii_uppercase

from lightning_med.privacy import emails_and_links, phone_and_id_numbers, postal_addresses
from lightning_med.privacy.cue_search import NON_ASCII_LETTERS
from lightning_med.privacy.greetings import HELLO
from lightning_med.privacy.person_names import RELATIVES
from lightning_med.privacy.signatures import STRONG, WEAK
from lightning_med.privacy.word_lists import read_given_names

# The words that most often follow a cue and are not names, by frequency: without them far fewer texts match.
NO_NAMES = (
    "i for doctor this thanks my it chat welcome you and the if dear there thank in yes these sir your its as "
    "from im of so good dairy can friend patient such to regarding regards doc no all seems please by what "
    "with take do she have de that wish according at how iam after having he actually sorry user consult is "
    "since though rearward get ive any nothing are pain even about madam surgery try am doctors not many did "
    "does only when recently one appreciate parent sometimes treatment firstly unfortunately chronic instead "
    "they we on their skin usually noted based greetings looking read chest both doing today docs last why "
    "then but blood normal recurrent make iron thyroid ovarian headache either those considering taking over "
    "off yesterday iv again docter mam just would or perhaps understand a care u most very first"
)


def _match_other_words(words: Iterable[str], first: str) -> str:
    """A pattern for the start of a word that is none of the given words: RE2 has no negative lookahead.

    It follows the letters that the words share, and ends at the first letter they do not, or at one beyond ASCII.

    Args:
        words: All with a first letter of `first`, the other letters in lower case.
        first: The letters that the word may begin with.
    """
    tree: dict[str, dict] = {}
    for word in words:
        node = tree
        for letter in word:
            node = node.setdefault(letter, {})
        node[""] = {}
    return rf"(?:{_leave_tree(tree, first)}|[{first}]?[a-z]*[{NON_ASCII_LETTERS}])"


def _leave_tree(node: dict[str, dict], first: str = "") -> str:
    letters = sorted(letter for letter in node if letter)
    ends = "" in node  # a word ends here: only a longer one is another word
    allowed = first or ("'-" + ascii_letters if ends else "".join(map(chr, range(128))))
    others = _match_any_of([ord(char) for char in allowed if char not in letters]) + ("" if first or ends else "|$")
    return f"(?:{'|'.join([others, *(letter + _leave_tree(node[letter]) for letter in letters)])})"


def _match_any_of(codes: list[int]) -> str:
    """A character class of ranges, which RE2 compiles to the fewest states."""
    known = set(codes)
    starts = sorted(code for code in known if code - 1 not in known)
    stops = sorted(code for code in known if code + 1 not in known)
    return "[" + "".join(rf"\x{start:02x}-\x{stop:02x}" for start, stop in zip(starts, stops, strict=True)) + "]"


_GAP = r"[ \t\xa0]"
_ENDS = r"\s*(?:[,.;:!?()&/\n–—-]|$)"
_TITLE = rf"(?i:mrs?|ms|miss|mx|mme|mister|dr|prof|professor|doctor|doc)(?:\.|{_GAP}){_GAP}*"
_GAPS = r"[\s\xa0,.:;!&~*–—-]+"
_SIGNED = rf"(?i:{STRONG}|{WEAK})"
_POLITE = rf"(?i:dear(?:est)?|{HELLO}|{STRONG}|{WEAK})"
_TITLED = r"(?i:mrs?|ms|mx|dr|prof)"
_CALLED = rf"(?i:call{_GAP}me|myself)"
_I_AM = rf"(?i:i{_GAP}am|i['’ ]?m|iam|this{_GAP}is|here{_GAP}is)"
_UPPER = _match_other_words((word.capitalize() for word in NO_NAMES.split()), ascii_uppercase)
_LOWER = _match_other_words(NO_NAMES.split()[:60], ascii_lowercase)
_GIVEN = "|".join(f"[{name[0].upper()}{name[0]}]{name[1:]}" for name in sorted(read_given_names()))
_WORD = f"[A-Za-z{NON_ASCII_LETTERS}'’-]"
_CAPITAL = f"[A-Z{NON_ASCII_LETTERS}][A-Za-z{NON_ASCII_LETTERS}'’.-]*"
_STOPS = r"[\s\xa0.!,)~*;:–—-]*$"
_NAMES = (
    rf"(?:^|[^A-Za-z'’])(?:(?:(?:{_POLITE}|{_TITLED}|{_CALLED}){_GAPS}(?:{_TITLE})?|{_SIGNED}|(?i:mister|miss|professor|doctor){_GAP}+){_UPPER}"
    rf"|{_POLITE}{_GAPS}{_LOWER}{_WORD}*(?:{_GAP}+{_WORD}+)?{_ENDS}"
    rf"|(?:{_POLITE}|{_I_AM}|{_CALLED}){_GAPS}(?:{_TITLE}[A-Za-z{NON_ASCII_LETTERS}]|[A-Z]\.)"
    rf"|(?:{_POLITE}|{_TITLED}|{_I_AM}|{_CALLED}|(?i:{RELATIVES})){_GAPS}(?:{_GIVEN})(?:[^a-z]|$)"
    rf"|(?i:i{_GAP}am|i['’ ]?m|iam)\s+[A-Z][a-z]+{_GAP}(?:[A-Z]|(?:from|in){_GAP}+[A-Z])|[.!?\s][Bb]est,{_GAPS}[A-Z])"
    rf"|(?i:(?:my|his|her|(?:{RELATIVES})(?:['’]?s)?|full|first|last|real)\s?name|name{_GAP}*[:=])"
    rf"|(?i:thank|thx)[^.!?,;\n–—-]*[.!?,;\n–—-][\s.!?,;–—-]*(?:{_CAPITAL}(?:{_GAP}+{_CAPITAL}){{0,3}}|{_WORD}+(?:{_GAP}+{_WORD}+)?){_STOPS}"
    rf"|(?:\n|(?:^|[^A-Za-z0-9])[–—-])\s*{_CAPITAL}(?:{_GAP}+{_CAPITAL}){{0,3}}{_STOPS}"
)

SUSPECT = "|".join((emails_and_links.SUSPECT, phone_and_id_numbers.SUSPECT, postal_addresses.SUSPECT, _NAMES))
