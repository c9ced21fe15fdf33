"""The cleaning rules, in the order in which they are applied.

No rule changes a number: doses, units, blood pressures, ages and laboratory values stay as they are.
"""

from __future__ import annotations

from lightning_med.data.cleaning.advertising import remove_advertising
from lightning_med.data.cleaning.characters import repair_invisible, repair_mojibake
from lightning_med.data.cleaning.chat_doctor import CHAT_DOCTOR, repair_chat_doctor
from lightning_med.data.cleaning.dropped_rows import (
    SPACES,
    has_lost_words,
    has_nothing_to_learn,
    has_unsafe_advice,
    is_blank,
    is_cut,
    is_missing,
    is_too_short,
)
from lightning_med.data.cleaning.html_markup import repair_html
from lightning_med.data.cleaning.punctuation import repair_apostrophes, split_glued_sentences
from lightning_med.data.cleaning.rule import Rule, repair_until_stable
from lightning_med.tokenization.text_normalization import normalize_whitespace

RULES = (
    Rule("missing", "drops", find_rows=is_missing),
    Rule("html", "repairs", prefilter=r"<\s*/?\s*[a-zA-Z]|&[#a-zA-Z][a-zA-Z0-9]*;", repair=repair_html),
    Rule("mojibake", "repairs", prefilter=r"[^\x00-\x7f]", repair=repair_mojibake),
    Rule(
        "invisible",
        "repairs",
        prefilter="[\u200b-\u200f\u2060\ufeff\u00ad\u202a-\u202e\u2066-\u2069]",
        repair=repair_invisible,
    ),
    Rule("advertising", "repairs", prefilter="->|→", repair=remove_advertising),
    Rule("chat_doctor", "repairs", prefilter=CHAT_DOCTOR, repair=repair_until_stable(repair_chat_doctor)),
    Rule(
        "apostrophes",
        "repairs",
        prefilter=(
            r"(?i)[a-z]n t\b|\bi (?:m|ve|ll)\b|\b(?:it|that|there|he|she|what) s\b|\b(?:you|they|we) (?:re|ve|ll)\b"
        ),
        repair=repair_apostrophes,
    ),
    Rule("glued_sentences", "repairs", prefilter=r"[a-z)\]\"'][.?!,;:]+[A-Z]", repair=split_glued_sentences),
    Rule("whitespace", "repairs", prefilter=rf"^ | $|  |[{SPACES}]", repair=normalize_whitespace),
    Rule("blank", "drops", find_rows=is_blank),
    Rule("too_short", "drops", find_rows=is_too_short),
    Rule("cut_answer", "drops", default=False, find_rows=is_cut),
    Rule("lost_words", "drops", default=False, find_rows=has_lost_words),
    Rule("unsafe_advice", "drops", default=False, find_rows=has_unsafe_advice),
    Rule("not_learned", "drops", find_rows=has_nothing_to_learn),  # the last: the others end conversations early
)
DUPLICATE = "duplicate"  # a rule of its own: it compares all rows, not those of one frame
