"""Shared by the tests of text metrics: consultations that look real, and a tiny encoder."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

QUESTIONS = [
    "My throat has been sore since Monday and I cough at night. Do I need an antibiotic?",
    "I am 34 and my left knee hurts when I climb stairs. It started after a long run two weeks ago.",
    "There is a red, itchy rash on my son's arm. He played in the garden yesterday.",
    "I often wake up at 3 a.m. and cannot sleep again. What can I do without pills?",
    "For a week I have had a burning pain behind the breastbone after meals.",
    "My father, 71, feels dizzy when he stands up. He takes a tablet for his blood pressure.",
]
REFERENCES = [
    "Hello. A sore throat with a cough is mostly caused by a virus, and antibiotics do not help then. Drink warm tea, rest, and see a doctor if you have a fever of over 38.5 or trouble swallowing.",
    "Hi, pain on stairs after a long run points to the tendon or cartilage behind the kneecap. Rest it for 2-3 weeks, cool it, and let a physiotherapist show you exercises.",
    "Thanks for asking. It may be a contact rash from a plant. Wash the skin, use a cool cloth, and have a pediatrician look at it if it spreads or he gets a fever.",
    "Waking up early is common in times of stress. Keep regular hours, avoid screens and alcohol in the evening, and leave the bed if you lie awake for more than 20 minutes.",
    "That sounds like acid reflux. Eat smaller meals, don't lie down for three hours afterwards, and get checked soon if the pain goes into your arm or comes with sweating.",
    "Dizziness on standing is often a drop in blood pressure; his tablet may be too strong. Measure it lying and standing, and ask his doctor this week whether to change the dose.",
]
ANSWERS = [
    "Hello. Most sore throats are caused by a virus. Rest, drink warm tea, and see a doctor if the fever is over 38.5.",
    "Your knee may be strained. Rest it, and see a doctor if it swells.",
    "",
    "Keep regular hours and avoid alcohol. Keep regular hours and avoid screens in the evening.",
    "It sounds like reflux. Eat smaller meals and get checked if the pain goes into your arm, please.",
    "Ask his doctor whether the tablet is too strong; measuring the pressure when he stands would help.",
]


def encoder_folder(folder: Path, positions: int = 24) -> Path:
    """Writes an encoder with random weights and a vocabulary of the words above."""
    split = pre_tokenizers.BertPreTokenizer()
    words = sorted({word for text in QUESTIONS + REFERENCES for word, _ in split.pre_tokenize_str(text.lower())})
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.Lowercase(), split
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=positions,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(folder)
    return folder
