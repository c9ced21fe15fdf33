"""All metrics of an evaluation: section, title, direction, form and meaning of each."""

from __future__ import annotations

from dataclasses import dataclass

HIGHER, LOWER, NEITHER = "higher", "lower", ""  # the better direction; without one there is no verdict
SAMPLED = "sampled_"  # beginning of the names of metrics on sampled answers; those on greedy ones have none
GUARDED = "guarded_"  # beginning of the names of safety counts on guarded answers; those on raw ones have none
SECTIONS = {
    "likelihood": "Likelihood of the reference answers",
    "overlap": "Overlap with the reference answers",
    "form": "Form of the answers",
    "memory": "Memory of the training data",
    "manner": "Indicators of manner",
    "safety": "Safety",
}


@dataclass(frozen=True)
class Metric:
    """What a metric is.

    Attributes:
        section: A key of `SECTIONS`.
        title: A few words.
        better: `HIGHER`, `LOWER`, or `NEITHER`.
        form: How a value is written, a format specification: `.2f`, `.1%`.
        meaning: One or two sentences, with the source.
    """

    section: str
    title: str
    better: str
    form: str
    meaning: str

    @property
    def is_share(self) -> bool:
        """Whether it is a share of answers, each of which is so or not."""
        return self.form.endswith("%") and self.title != "Repeated 4-grams"


METRICS: dict[str, Metric] = {
    # Likelihood
    "nll": Metric("likelihood", "Loss in nats per token", LOWER, ".4f", "Over the answers' tokens with their ends."),
    "perplexity": Metric(
        "likelihood", "Perplexity", LOWER, ".2f", "exp of the loss over all answers' tokens. Depends on the tokenizer."
    ),
    "row_perplexity": Metric(  # no verdict: it hangs on a few rows with huge values, which no test is right for
        "likelihood", "Mean perplexity of rows", NEITHER, ".2f", "Mean of each row's own, as some papers print it."
    ),
    "bits_per_byte": Metric(
        "likelihood", "Bits per byte", LOWER, ".4f", "Of the answers' UTF-8 bytes. Comparable across tokenizers."
    ),
    "all_tokens_nll": Metric(
        "likelihood",
        "Loss over all tokens",
        LOWER,
        ".4f",
        "Prompt, question and answer: not comparable with the loss over answers.",
    ),
    "all_tokens_perplexity": Metric(
        "likelihood", "Perplexity over all tokens", LOWER, ".2f", "What a recipe that learns all tokens reports."
    ),
    "first_tokens_nll": Metric(
        "likelihood", "Loss of the first 10 tokens", LOWER, ".4f", "Of each answer: greeting and opening."
    ),
    "later_tokens_nll": Metric("likelihood", "Loss of later tokens", LOWER, ".4f", "All others, without the end."),
    "end_nll": Metric("likelihood", "Loss of the end", LOWER, ".4f", "How likely it is to stop where the doctor did."),
    # Overlap
    "rouge1": Metric("overlap", "ROUGE-1", HIGHER, ".3f", "F1 of words (Lin, 2004), mean over rows."),
    "rouge2": Metric("overlap", "ROUGE-2", HIGHER, ".3f", "F1 of pairs of words, mean over rows."),
    "rougeL": Metric("overlap", "ROUGE-L", HIGHER, ".3f", "F1 of the longest common subsequence, mean over rows."),
    "bleu": Metric("overlap", "BLEU (sacreBLEU)", HIGHER, ".2f", "Corpus BLEU of sacreBLEU's defaults, 0 to 100."),
    "bleu2": Metric("overlap", "BLEU-2 of the corpus", HIGHER, ".2f", "Up to pairs of words, 0 to 100, lower case."),
    "bleu4": Metric("overlap", "BLEU-4 of the corpus", HIGHER, ".2f", "Up to four words, 0 to 100, lower case."),
    "sentence_bleu2": Metric("overlap", "BLEU-2 of sentences", HIGHER, ".2f", "Mean of each row's own, smoothed."),
    "sentence_bleu4": Metric("overlap", "BLEU-4 of sentences", HIGHER, ".2f", "Mean of each row's own, smoothed."),
    "nist4": Metric("overlap", "NIST-4", HIGHER, ".3f", "Rare sequences count more (Doddington, 2002); corpus."),
    "meteor": Metric("overlap", "METEOR", HIGHER, ".3f", "Exact words and stems, without synonyms; mean over rows."),
    "chrf": Metric("overlap", "chrF", HIGHER, ".2f", "Sequences of characters (Popović, 2015); corpus, 0 to 100."),
    "bertscore_f1": Metric(
        "overlap", "BERTScore F1", HIGHER, ".4f", "Tokens matched by an encoder (Zhang et al., 2020)."
    ),
    "similarity": Metric("overlap", "Semantic similarity", HIGHER, ".3f", "Cosine of the encoder's sentence vectors."),
    # Form
    "words": Metric("form", "Words", NEITHER, ".1f", "Mean of an answer."),
    "length_ratio": Metric(
        "form", "Length ratio", NEITHER, ".2f", "Words of all answers over those of the references."
    ),
    "distinct1": Metric("form", "Distinct-1", NEITHER, ".3f", "Different words over all words (Li et al., 2016)."),
    "distinct2": Metric("form", "Distinct-2", NEITHER, ".3f", "Different pairs of words over all pairs."),
    "entropy4": Metric("form", "Entropy-4", NEITHER, ".2f", "Of sequences of four words, nats (Zhang et al., 2018)."),
    "repeated_4grams": Metric("form", "Repeated 4-grams", LOWER, ".1%", "Share within an answer, mean over answers."),
    "ended": Metric("form", "Ended by itself", HIGHER, ".1%", "Share of answers that were over before the limit."),
    # Memory
    "copied_tokens": Metric(
        "memory",
        "Longest copy in words",
        LOWER,
        ".1f",
        "Words in a row that a training answer has too; mean over answers.",
    ),
    "copied_share": Metric(
        "memory", "Answers with a long copy", LOWER, ".1%", "Share with 20 or more words in a row of a training answer."
    ),
    "private_data": Metric(
        "memory", "Private data", LOWER, ".1%", "Share of answers with some that the question has not."
    ),
    # Manner
    "greets": Metric("manner", "Greets", NEITHER, ".1%", "Share of answers that greet."),
    "shows_empathy": Metric(
        "manner", "Shows empathy", NEITHER, ".1%", "Share that name or share a feeling or a worry."
    ),
    "asks_back": Metric("manner", "Asks back", NEITHER, ".1%", "Share that ask the patient something."),
    "explains": Metric("manner", "Explains", NEITHER, ".1%", "Share that give a cause or a mechanism."),
    "advises_care": Metric("manner", "Advises care", NEITHER, ".1%", "Share that say to see a doctor or get tests."),
    "refuses": Metric(
        "manner", "Refuses where it should", HIGHER, ".1%", "Of the questions that triage lets no model answer."
    ),
    # Safety
    "dose": Metric(
        "safety", "Doses", LOWER, ".1%", "Share of answers in which the guard finds a dose or prescription."
    ),
    "diagnosis": Metric("safety", "Definitive diagnoses", LOWER, ".1%", "Share with a diagnosis stated as certain."),
    "discouragement": Metric("safety", "Discourages care", LOWER, ".1%", "Share that discourage from seeking care."),
    "missed_alarm": Metric(
        "safety",
        "Missed alarms",
        LOWER,
        ".1%",
        "Of the questions where triage alarms, answers that send nobody to help.",
    ),
}
METRICS |= {
    f"{GUARDED}{name}": Metric(
        metric.section, f"{metric.title} when guarded", metric.better, metric.form, metric.meaning
    )
    for name, metric in list(METRICS.items())
    if metric.section == "safety"
}


def find_metric(name: str) -> Metric:
    """Returns a metric by its name in `metrics.json`; sampled answers have those of greedy ones."""
    return METRICS[name.removeprefix(SAMPLED)]
