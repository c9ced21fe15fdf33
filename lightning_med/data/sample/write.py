"""Writes the synthetic consultations: ``python -m lightning_med.data.sample.write --rows 3000 --seed 7``."""

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

Entry = dict[str, Any]  # a complaint, or the phrases, as in complaints.yaml


@dataclass(frozen=True)
class Patient:
    """The person who is ill: the one who asks if `role` is empty, else a relative."""

    role: str
    age: int
    unit: str
    sex: str

    def choose_words(self, phrases: Entry, speaker: str) -> dict[str, str]:
        """Returns the words for the patient.

        Args:
            phrases: As in complaints.yaml.
            speaker: `asking` or `answering`, for a patient who asks: the words for "I" in a question and in an answer.
        """
        noun = {"female": "woman girl", "male": "man boy"}[self.sex].split()[self.age < 18]
        article = "an" if self.age in (8, 11, 18) or 80 <= self.age < 90 else "a"
        words = {"role": self.role, "age": str(self.age), "unit": self.unit, "sex": noun, "an": article}
        words |= phrases["words"][self.sex if self.role else speaker]
        return words | {"act": "we"} if self.unit == "month" or self.age < 13 else words


def fill_template(text: str, words: dict[str, str]) -> str:
    """Replaces each ``<word>``, also within the replacements, and capitalizes the beginnings of sentences."""
    while "<" in text:
        text = re.sub(r"<(\w+)>", lambda match: words[match[1]], text)
    return re.sub(r"(^|[.?!] )([a-z])", lambda match: match[1] + match[2].upper(), text)


def list_items(items: list[str], count: int, conjunction: str, templates: list[str], rng: random.Random) -> str:
    """Lists some of the items, in their order, in one of the templates with a ``<list>``."""
    count = min(count, len(items))
    chosen = [items[i] for i in sorted(rng.sample(range(len(items)), count))]
    pair = count == 2 and not any(re.search(r" (and|or) ", item) for item in chosen)
    start = ", ".join(chosen[:-1]) + ("" if pair else ",") if count > 1 else ""
    return rng.choice(templates).replace("<list>", f"{start} {conjunction} {chosen[-1]}" if start else chosen[-1])


def list_fitting(items: list[str], patient: Patient) -> list[str]:
    """Returns the items that fit the patient's sex and age; all of them where none does."""
    years = patient.age if patient.unit == "year" else 0
    unfit = [r"testic"] if patient.sex == "female" else [r"\bperiods?\b|pregnan"]
    unfit += [r"smoking|alcohol|driving|pregnan|coffee|caffeine"] * (years < 16) + [r"pregnan"] * (years > 52)
    return [item for item in items if not any(re.search(words, item) for words in unfit)] or items


def choose_patient(entry: Entry, phrases: Entry, rng: random.Random) -> Patient:
    """Chooses a person who may have the complaint."""
    is_baby, (youngest, oldest) = entry["who"] == "baby", entry["ages"]
    sexes = [entry["who"]] if entry["who"] in ("female", "male") else ["female", "male"]
    relatives = []
    for person in phrases["people"]["baby" if is_baby else "any"]:
        role, low, high, sex = person.rsplit(" ", 3)
        low, high = max(youngest, int(low)), min(oldest, int(high))
        if low <= high and sex in sexes and role in entry.get("roles", [role]):
            relatives.append((role, low, high, sex))
    if entry["who"] not in ("baby", "child") and (rng.random() < 0.65 or not relatives):
        return Patient("", rng.randint(max(youngest, 16), oldest), "year", rng.choice(sexes))
    role, low, high, sex = rng.choice(relatives)
    return Patient(role, rng.randint(low, high), "month" if is_baby else "year", sex)


@dataclass(frozen=True)
class Told:
    """What a question says that its answer takes up.

    Args:
        kind: Of what is asked: a key of `asks` in complaints.yaml.
        words: The words that the question was written with.
        text: The question.
    """

    kind: str
    words: dict[str, str]
    text: str

    def mentions(self, text: str) -> bool:
        """Returns whether the question says a text, be it typed in haste."""
        return text.lower() in self.text.lower()


def write_question(entry: Entry, patient: Patient, phrases: Entry, rng: random.Random) -> Told:
    """Writes the question of the patient or a relative: terse, in one sentence, plain or long."""
    brief, asker = entry["lasts"] == "hours", "other" if patient.role else "self"
    words = patient.choose_words(phrases, "asking") | {"topic": entry["topic"], "tried": rng.choice(entry["tried"])}
    words |= {word: rng.choice(entry[f"{word}s"]) for word in ("name", "trigger")}
    words["dur"] = rng.choice(phrases["durations"][entry["lasts"]])
    symptoms = rng.sample(entry["symptoms"], 2) + rng.sample(entry["says"], 2)
    words |= zip(("a", "b", "says", "more"), symptoms, strict=True)
    intro = rng.choice([text for text in phrases[f"intro_{asker}"] if not (brief and "<says>" in text)])
    kind = rng.choice(list(phrases["asks"]))
    request = rng.choice(phrases["asks"][kind])
    style = rng.choice(("terse", "single", "plain", "plain", "plain", "plain", "long"))
    if style == "terse":
        intro, more = rng.choice(phrases[f"terse_{asker}"]), rng.choice(phrases["terse_more"])
        return Told(kind, words, type_hastily(fill_template(f"{intro}, {more}, {request}", words), phrases))
    if style == "single":
        texts = [intro.replace(". I ", ", I ")[:-1] + f", {rng.choice(phrases['links'])}."]
    else:
        texts = [intro, *_choose_details(patient, phrases, style == "long", brief, rng)]
    greeting = rng.choice(phrases["greetings"])
    if greeting.endswith(",") and not re.match(r"(I|I'm|I've|<I>)\b", texts[0]):
        texts[0] = texts[0][0].lower() + texts[0][1:]
    text = fill_template(" ".join([greeting, *texts, request]).strip(), words)
    return Told(kind, words, type_hastily(text, phrases) if rng.random() < 0.12 else text)


def _choose_details(patient: Patient, phrases: Entry, long: bool, brief: bool, rng: random.Random) -> list[str]:
    """Chooses sentences after the introduction; `brief` for a complaint that lasts hours."""
    history = "history_adult" if patient.unit == "year" and patient.age >= 25 else "history_child"
    optional = [key for key in ("tried", history) if long or rng.random() < 0.4]
    details = ["<more>.", *(rng.choice(phrases[key]) for key in ("symptoms", "triggers", *optional))]
    texts = rng.sample(details, len(details) if long else rng.randint(1, 3))
    # The first three of these fit a complaint of a few hours as well as one of many days.
    rambles, worries = (phrases[key][: 3 if brief else None] for key in ("rambles", "worries"))
    texts += rng.sample(rambles, 2 * long)
    return texts + rng.sample(worries, 1 if long else rng.randint(0, 1))


def type_hastily(text: str, phrases: Entry) -> str:
    """Rewrites a text as typed in haste: in lower case, with few apostrophes."""
    for long, short in phrases["haste"].items():
        text = re.sub(rf"\b{long}\b", short, text)
    return text.lower()


def write_answer(entry: Entry, patient: Patient, told: Told, phrases: Entry, rng: random.Random) -> str:
    """Writes the doctor's answer: it takes up what is asked and told, and says when to seek care at once."""
    urgent = "_urgent" if entry.get("emergency") else ""
    soon = urgent or ("_soon" if "urgent" in entry else "")
    asker = urgent or ("_other" if patient.role and entry["who"] not in ("baby", "child") else "_self")
    words = patient.choose_words(phrases, "answering")
    words |= {"topic": entry["topic"], "care": entry.get("care", "a doctor")}
    words["the_care"] = re.sub("^an? ", "the ", words["care"])
    words |= {word: told.words[word] for word in ("trigger", "tried")}
    fitting = {key: list_fitting(entry[key], patient) for key in ("explanations", "advice", "checks", "red_flags")}
    parts = {
        "explain": rng.choice(fitting["explanations"]),
        "advise": list_items(fitting["advice"], rng.choice((2, 3, 3)), "and", phrases[f"advise{asker}"], rng),
        "check": list_items(fitting["checks"], 2, "and", phrases[f"check{soon}"], rng),
        "flag": list_items(fitting["red_flags"], rng.choice((2, 3, 3)), "or", phrases[f"flag{urgent}"], rng),
    }
    # In an emergency, what to do until help arrives comes before what the hospital does.
    texts = [parts[part] for part in rng.choice(phrases["orders"]["urgent" if urgent else told.kind])]
    if not soon:
        kind = "see_wait" if told.kind == "see" and entry.get("wait") else told.kind
        texts.insert(0, rng.choice(phrases["replies"][kind]))
        texts.insert(rng.choice((3, 4, 5)), _choose_note(entry, told, phrases, rng))
    months = "_months" if entry["lasts"] == "months" else ""
    bye = rng.choice(phrases[f"bye{urgent or months}"])
    empathy = _choose_empathy(entry, told, phrases, rng)
    texts = [rng.choice(phrases["hello"]), entry.get("urgent", ""), empathy, *texts, bye]
    return fill_template(" ".join(text for text in texts if text), words)


def _choose_empathy(entry: Entry, told: Told, phrases: Entry, rng: random.Random) -> str:
    """Chooses a sentence of sympathy, with the fear or the long time that the question tells of."""
    if entry.get("emergency"):
        return rng.choice(rng.choice((phrases["sorry_urgent"], entry["empathy"])))
    choices = [phrases["sorry"], entry["empathy"], entry["empathy"]]
    if any(told.mentions(word) for word in ("worried", "scared", "serious?", "dangerous?")):
        choices += [phrases["sorry_worried"]] * 2
    if entry["lasts"] == "months":
        choices.append(phrases["sorry_months"])
    return rng.choice(rng.choice(choices))


def _choose_note(entry: Entry, told: Told, phrases: Entry, rng: random.Random) -> str:
    """Chooses a sentence on something that the question tells, or none."""
    notes = phrases["notes"]
    found = [
        note for fact, note in notes["history"].items() if told.mentions(fact) and fact[-14:] not in entry["topic"]
    ]
    for word in ("trigger", "tried"):
        if told.mentions(fill_template(told.words[word], told.words)):
            found.append(rng.choice(notes[word]))
    return rng.choice(found) if found and rng.random() < 0.75 else ""


def write_consultations(rows: int, seed: int) -> list[tuple[str, str]]:
    """Writes different questions with their answers, distributed over the complaints by weight."""
    rng = random.Random(seed)
    knowledge = yaml.safe_load(Path(__file__).with_name("complaints.yaml").read_text(encoding="utf-8"))
    phrases, entries = knowledge["phrases"], knowledge["complaints"]
    total_weight, weight = sum(entry.get("weight", 1) for entry in entries), 0.0
    answers: dict[str, str] = {}
    for entry in entries:
        weight += entry.get("weight", 1)
        while len(answers) < round(rows * weight / total_weight):
            patient = choose_patient(entry, phrases, rng)
            told = write_question(entry, patient, phrases, rng)
            answer = write_answer(entry, patient, told, phrases, rng)
            if 20 <= len(told.text.split()) <= 120 and 50 <= len(answer.split()) <= 130:
                answers.setdefault(told.text, answer)
    consultations = list(answers.items())
    rng.shuffle(consultations)
    return consultations


def main() -> None:
    """Writes the consultations as CSV."""
    parser = argparse.ArgumentParser(description="Write synthetic consultations.")
    parser.add_argument("--rows", type=int, default=3000, help="how many consultations")
    parser.add_argument("--seed", type=int, default=7, help="the seed that fixes every choice")
    parser.add_argument("--output", type=Path, default=PATH, help="the CSV file to write")
    options = parser.parse_args()
    with options.output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("input", "output"))
        writer.writerows(write_consultations(options.rows, options.seed))
    print(f"{options.rows:,} synthetic consultations: {options.output}")


if __name__ == "__main__":
    main()
