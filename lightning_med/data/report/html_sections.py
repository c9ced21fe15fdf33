"""Sections of the data page about the texts: cleaning, private data, language, and rows as they are."""

from __future__ import annotations

from lightning_med.data.report.charts import bar
from lightning_med.data.report.html_elements import (
    NONE,
    SPLIT_NAMES,
    Report,
    changed,
    empty,
    named,
    number,
    percent,
    plain,
    row_count,
    table,
    text,
)

RULES = {  # name: title, what it means; a rule that is not here goes by its own name
    "missing": ("No question or no answer", "A field is absent."),
    "blank": ("Empty text", "Nothing but white space."),
    "duplicate": ("Exact copies", "Question and answer were there before; the first stays."),
    "too_short": ("Answers too short", "Too few words to learn from."),
    "cut_answer": ("Answers that break off", "They stop in mid-sentence."),
    "unsafe_advice": ("Unsafe advice", "They talk a patient out of care, or abuse."),
    "lost_words": ("Lost words", "“Chat Doctor” stands where words once stood."),
    "invisible": ("Invisible signs", "They split words or turn the direction of writing."),
    "mojibake": ("Garbled letters", "Read in a wrong encoding, such as â€™ for an apostrophe."),
    "html": ("Markup of web pages", "Tags and codes such as &amp;amp;."),
    "advertising": ("Advertising", "A last line that leads to an online service."),
    "chat_doctor": ("“Chat Doctor”", "A placeholder, taken out where nothing is lost."),
    "apostrophes": ("Lost apostrophes", "“don t” becomes “don’t”."),
    "glued_sentences": ("Glued sentences", "No space where a new sentence begins."),
    "whitespace": ("Uneven spacing", "Spaces at the ends, repeated spaces, empty lines."),
}
EFFECTS = {"dropped": "Dropped", "mended": "Mended", "counted": "Only counted", "off": "Switched off"}
KINDS = {
    "EMAIL": "E-mail addresses",
    "URL": "Web addresses",
    "PHONE": "Telephone numbers",
    "CARD": "Payment card numbers",
    "NATIONAL_ID": "National identity numbers",
    "ADDRESS": "Postal addresses",
    "NAME": "Names of persons",
}


def _by_effect(report: Report, effect: str) -> dict[str, int]:
    """Rules with their counts, the largest first."""
    effects = report.get("effects") or {}
    counts = {**dict.fromkeys(effects, 0), **(report.get("rules") or {})}
    known = {rule: effects.get(rule) if effects.get(rule) in EFFECTS else "counted" for rule in counts}
    return dict(sorted(((rule, n) for rule, n in counts.items() if known[rule] == effect), key=lambda item: -item[1]))


def searched(report: Report) -> bool:
    """Whether private data was looked for."""
    return bool((report.get("recipe") or {}).get("private_data", bool(report.get("private"))))


def rules(report: Report) -> str:
    """What each rule did, the dropping ones first."""
    read = report.get("rows_in") or 0
    tables = []
    for effect in ("dropped", "mended", "counted"):
        if found := _by_effect(report, effect):
            total = f" <small>{row_count(sum(found.values()))} in all</small>" if effect == "dropped" else ""
            longest = max(found.values())
            lines = ((_rule(rule) + bar(n, longest), number(n), percent(n, read)) for rule, n in found.items())
            tables.append(table(EFFECTS[effect] + total, ("Rule", "Rows", "Share"), lines))
    made = f'<div class="columns">{"".join(tables)}</div>' if tables else empty("No rule was applied.")
    if off := _by_effect(report, "off"):
        names = ", ".join(
            text(RULES.get(rule, (plain(rule),))[0].lower()) + (f" ({number(n)})" if n else "")
            for rule, n in off.items()
        )
        made += f'<p class="note">Switched off: {names}.</p>'
    return made + f'<p class="note">Rows that could not be read, left out: {number(report.get("bad_rows") or 0)}.</p>'


def _rule(rule: str) -> str:
    title, words = RULES.get(rule, (plain(rule), ""))
    return f"{text(title)}{words and f'<small>{words}</small>'}"


def examples(report: Report) -> str:
    """A few texts of each rule, as they were and as they are; folded, for they are long."""
    effects, made = report.get("effects") or {}, []
    for rule, found in (report.get("examples") or {}).items():
        if found:
            effect = EFFECTS.get(effects.get(rule, ""), "Counted").lower()
            title = text(RULES.get(rule, (plain(rule),))[0])
            shown = "".join(_example(example) for example in found)
            head = f"<summary>{title} <span>{effect}, {len(found)} shown</span></summary>"
            made.append(f"<details>{head}{shown}</details>")
    return f"<h3>Examples</h3>{''.join(made)}" if made else ""


def _example(example: Report) -> str:
    before, after = example.get("before"), example.get("after")
    column = f", {text(example['column'])}" if example.get("column") else ""
    if after is None:
        said = _said("", text(before) if before else NONE)
    else:
        old, new = changed(str(before or ""), str(after))
        said = _said("before", old) + _said("after", new)
    return f'<div class="example"><p class="where">{_place(example)}{column}</p>{said}</div>'


def _said(label: str, words: str) -> str:
    named = f'<span class="label">{label}</span>' if label else ""
    return f'<div class="pair">{named}<p dir="auto">{words}</p></div>'


def _place(row: Report) -> str:
    return f"<bdi>{text(row.get('source') or 'unknown file')}</bdi>, row {number(row.get('row'))}"


def sources(report: Report) -> str:
    """What each file brought."""
    found = report.get("sources") or []
    if not found:
        return ""
    lines = (
        (
            f"<bdi>{text(source.get('name'))}</bdi>",
            number(source.get("rows_in")),
            number(source.get("rows_out")),
            percent(source.get("rows_out"), source.get("rows_in") or 0),
            number(source.get("weight")),
        )
        for source in found
    )
    shown = table("Sources", ("File", "Read", "Kept", "Share", "Weight"), lines)
    return f'{shown}<p class="note">The weight says how often one pass of training shows each row of a source.</p>'


def private(report: Report) -> str:
    """What was replaced, by kind."""
    found = dict(sorted((report.get("private") or {}).items(), key=lambda item: -item[1]))
    if not searched(report):
        return empty("Switched off: names, addresses and numbers stand in the data as they were written.")
    lead = (
        '<p class="lead">What could tell who somebody is was replaced by a word that says its kind, such as'
        " <code>[EMAIL]</code>. Rules recognise patterns and miss some: treat the data as private all the same.</p>"
    )
    if not sum(found.values()):
        return lead + empty("None found.")
    longest = max(found.values())
    lines = (
        (f"{text(KINDS.get(kind, plain(kind)))} <code>{text(kind)}</code>" + bar(n, longest), number(n))
        for kind, n in found.items()
    )
    return lead + table("Replaced, by kind", ("Kind", "Times"), lines)


def openings(report: Report) -> str:
    """The first words of answers."""
    found, kept = report.get("openings") or [], report.get("rows_out") or 0
    if not found:
        return empty("None found.")
    longest = max(opening["count"] for opening in found)
    lines = (
        (
            f'<span dir="auto">{text(opening["text"])}</span>{bar(opening["count"], longest)}',
            number(opening["count"]),
            percent(opening["count"], kept),
        )
        for opening in found
    )
    return table("The most frequent openings of answers", ("Words", "Answers", "Share"), lines)


def vocabulary(report: Report) -> str:
    """How far the words of the splits differ."""
    found = report.get("vocabulary") or {}
    lines = [
        (name, number(found[split].get("divergence")), percent(found[split].get("unseen")))
        for split, name in SPLIT_NAMES.items()
        if found.get(split)
    ]
    made = table("Compared with training", ("Split", "Divergence", "Unseen"), lines) if lines else ""
    shifted = found.get("shifted") or []
    longest = max((max(word["train"], word["test"]) for word in shifted), default=0)
    words = [
        (
            f"<bdi>{text(word['word'])}</bdi>"
            + "".join(bar(word[split], longest, split) for split in ("train", "test")),
            f"{word['train'] * 10_000:,.1f}",
            f"{word['test'] * 10_000:,.1f}",
        )
        for word in shifted
    ]
    if words:
        columns = ("Word", named("train"), named("test"))
        made += table("Words whose use differs most <small>times in 10,000 words</small>", columns, words)
    return made or empty("Nothing to compare.")


def dialogues(report: Report) -> str:
    """Rows as they are after cleaning."""
    return "".join(_dialogue(row) for row in report.get("rows") or []) or empty("No row is left.")


def _dialogue(row: Report) -> str:
    split = str(row.get("split"))
    said = "".join(
        f'<div><p class="where">{name}</p><p class="said" dir="auto">{text(row.get(part) or NONE)}</p></div>'
        for part, name in (("question", "Question"), ("answer", "Answer"))
    )
    head = f"<h3><b>{named(split)}</b> <span>{_place(row)}</span></h3>"
    return f'<article class="row">{head}<div class="talk">{said}</div></article>'
