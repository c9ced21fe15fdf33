"""Write the synthetic consultations: ``python -m lightning_med.data.sample.write --rows 3000 --seed 7``."""

from __future__ import annotations

import argparse
import csv
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lightning_med.data.sample import PATH

Entry = dict[str, Any]


@dataclass(frozen=True)
class Patient:
    """The person who is ill: the one who asks, where `role` is empty, or a relative."""

    role: str
    age: int
    unit: str
    sex: str

    def words(self, phrases: Entry, asker: str) -> dict[str, str]:
        """The words that stand for the patient; `asker` is what they would say of themselves: asking or answering."""
        noun = {"female": "woman girl", "male": "man boy"}[self.sex].split()[self.age < 18]
        article = "an" if self.age in (8, 11, 18) or 80 <= self.age < 90 else "a"
        words = {"role": self.role, "age": str(self.age), "unit": self.unit, "sex": noun, "an": article}
        words |= phrases["words"][self.sex if self.role else asker]
        return words | {"act": "we"} if self.unit == "month" or self.age < 13 else words


def fill(text: str, words: dict[str, str]) -> str:
    """Put words in place of ``<...>``, also within the words put in, and begin each sentence with a capital."""
    while "<" in text:
        text = re.sub(r"<(\w+)>", lambda found: words[found[1]], text)
    return re.sub(r"(^|[.?!] )([a-z])", lambda found: found[1] + found[2].upper(), text)


def listed(items: list[str], count: int, last: str, frames: list[str], rng: random.Random) -> str:
    """Some of the items, in their own order, in one of the sentences that take a ``<list>``."""
    kept = [items[at] for at in sorted(rng.sample(range(len(items)), count))]
    return rng.choice(frames).replace("<list>", f"{', '.join(kept[:-1])}, {last} {kept[-1]}")


def patient(entry: Entry, phrases: Entry, rng: random.Random) -> Patient:
    """Someone who may have the complaint."""
    baby, (low, high) = entry["who"] == "baby", entry["ages"]
    sexes = [entry["who"]] if entry["who"] in ("female", "male") else ["female", "male"]
    relatives = []
    for person in phrases["people"]["baby" if baby else "any"]:
        role, youngest, oldest, sex = person.rsplit(" ", 3)
        first, last = max(low, int(youngest)), min(high, int(oldest))
        if first <= last and sex in sexes and role in entry.get("roles", [role]):
            relatives.append((role, first, last, sex))
    if entry["who"] not in ("baby", "child") and (rng.random() < 0.65 or not relatives):
        return Patient("", rng.randint(max(low, 16), high), "year", rng.choice(sexes))
    role, first, last, sex = rng.choice(relatives)
    return Patient(role, rng.randint(first, last), "month" if baby else "year", sex)


def question(entry: Entry, who: Patient, phrases: Entry, rng: random.Random) -> str:
    """What the patient or a relative types: terse, in one sentence, plain or rambling."""
    brief, asker = entry["lasts"] == "hours", "other" if who.role else "self"
    words = who.words(phrases, "asking") | {"topic": entry["topic"], "tried": rng.choice(entry["tried"])}
    words |= {word: rng.choice(entry[f"{word}s"]) for word in ("name", "trigger")}
    words["dur"] = rng.choice(phrases["durations"][entry["lasts"]])
    drawn = rng.sample(entry["symptoms"], 2) + rng.sample(entry["says"], 2)
    words |= zip(("a", "b", "says", "more"), drawn, strict=True)
    intro = rng.choice([text for text in phrases[f"intro_{asker}"] if not (brief and "<says>" in text)])
    ask, style = (
        rng.choice(phrases["asks"]),
        rng.choice(("terse", "single", "plain", "plain", "plain", "plain", "long")),
    )
    if style == "terse":
        intro, more = rng.choice(phrases[f"terse_{asker}"]), rng.choice(phrases["terse_more"])
        return hasten(fill(f"{intro}, {more}, {ask}", words), phrases)
    if style == "single":
        texts = [intro.replace(". I ", ", I ")[:-1] + f", {rng.choice(phrases['links'])}."]
    else:
        long = style == "long"
        history = "history_adult" if who.unit == "year" and who.age >= 25 else "history_child"
        often = [key for key in ("tried", history) if long or rng.random() < 0.4]
        said = ["<more>.", *(rng.choice(phrases[key]) for key in ("symptoms", "triggers", *often))]
        texts = [intro, *rng.sample(said, len(said) if long else rng.randint(1, 3))]
        # The first three of these fit a trouble of a few hours as well as one of many days.
        rambles, worries = (phrases[key][: 3 if brief else None] for key in ("rambles", "worries"))
        texts += rng.sample(rambles, 2 * long) + rng.sample(worries, 1 if long else rng.randint(0, 1))
    text = fill(" ".join([rng.choice(phrases["greetings"]), *texts, ask]).strip(), words)
    return hasten(text, phrases) if rng.random() < 0.12 else text


def hasten(text: str, phrases: Entry) -> str:
    """The text as typed in haste: small letters and few apostrophes."""
    for long, short in phrases["haste"].items():
        text = re.sub(rf"\b{long}\b", short, text)
    return text.lower()


def answer(entry: Entry, who: Patient, phrases: Entry, rng: random.Random) -> str:
    """A doctor's reply that names the complaint and says when to seek care at once."""
    urgent = "_urgent" if entry.get("emergency") else ""
    soon = urgent or ("_soon" if "urgent" in entry else "")
    asker = urgent or ("_other" if who.role and entry["who"] not in ("baby", "child") else "_self")
    words = who.words(phrases, "answering") | {"topic": entry["topic"], "care": entry.get("care", "a doctor")}
    parts = {
        "explain": rng.choice(entry["explanations"]),
        "advise": listed(entry["advice"], 3, "and", phrases[f"advise{asker}"], rng),
        "check": listed(entry["checks"], 2, "and", phrases[f"check{soon}"], rng),
        "flag": listed(entry["red_flags"], rng.choice((2, 3, 3)), "or", phrases[f"flag{urgent}"], rng),
    }
    feeling = rng.choice(rng.choice((phrases[f"sorry{urgent}"], entry["empathy"])))
    # In an emergency what to do until help is there comes before what the hospital does.
    order = rng.choice(phrases["orders"][: 2 if urgent else None])
    texts = [rng.choice(phrases["hello"]), entry.get("urgent", ""), feeling, *(parts[part] for part in order)]
    return fill(" ".join(text for text in [*texts, rng.choice(phrases[f"bye{urgent}"])] if text), words)


def consultations(rows: int, seed: int) -> list[tuple[str, str]]:
    """Questions, all different, with their answers, spread over the complaints by weight."""
    rng = random.Random(seed)
    knowledge = yaml.safe_load(Path(__file__).with_name("complaints.yaml").read_text(encoding="utf-8"))
    phrases, entries = knowledge["phrases"], knowledge["complaints"]
    total, sums = sum(entry.get("weight", 1) for entry in entries), 0.0
    pairs: dict[str, str] = {}
    for entry in entries:
        sums += entry.get("weight", 1)
        while len(pairs) < round(rows * sums / total):
            who = patient(entry, phrases, rng)
            asked, replied = question(entry, who, phrases, rng), answer(entry, who, phrases, rng)
            if 20 <= len(asked.split()) <= 120 and 60 <= len(replied.split()) <= 130:
                pairs.setdefault(asked, replied)
    shuffled = list(pairs.items())
    rng.shuffle(shuffled)
    return shuffled


def main() -> None:
    """Write the consultations as CSV."""
    parser = argparse.ArgumentParser(description="Write synthetic consultations.")
    parser.add_argument("--rows", type=int, default=3000, help="how many consultations")
    parser.add_argument("--seed", type=int, default=7, help="the seed that fixes every choice")
    parser.add_argument("--output", type=Path, default=PATH, help="the CSV file to write")
    options = parser.parse_args()
    with options.output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("input", "output"))
        writer.writerows(consultations(options.rows, options.seed))


if __name__ == "__main__":
    main()
